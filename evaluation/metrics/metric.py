"""What a metric is: a record, and a function of what was measured of one pair of masks.

A metric is one file in `evaluation/metrics/definitions/` that holds a `METRIC`; whatever lies
there is found (`catalogue`), measured if a run asks for it, and goes through tables, statistics
and ranks by what its record says. A file may also hold `variant(text)`, which makes the metric of
what follows the file's name in an id: `hd` of `90` is `hd90`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, nan
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field, model_validator

from evaluation.files.records import Record
from evaluation.metrics.distances.distribution import SurfaceDistances

if TYPE_CHECKING:
    from evaluation.metrics.instances.scores import InstanceRow, InstanceScores

Direction: TypeAlias = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Further:
    """What is measured of a pair of masks only where a metric that was asked for needs it.

    All `distances` between the surfaces in the definition that was asked for; boundary IoU by the
    width of the band in voxels; of structures that are counted one by one the `instances`' scores
    and a row for each of them.
    """

    distances: SurfaceDistances | None = None
    boundary_ious: Mapping[float, float] = field(default_factory=dict)
    instances: InstanceScores | None = None
    instance_rows: tuple[InstanceRow, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What is measured of one pair of masks at one tolerance, whatever metrics are asked for.

    Surfaces are areas in mm², of one-slice data contour lengths in mm; `within` is the part of a
    side's surface that lies within the tolerance of the other side's, by surface elements.
    """

    spacing_mm: tuple[float, float, float]
    tolerance_mm: float
    reference_voxels: int
    prediction_voxels: int
    intersection_voxels: int
    surface_reference_total_mm2: float
    surface_reference_within_mm2: float
    surface_prediction_total_mm2: float
    surface_prediction_within_mm2: float
    further: Further = Further()

    @property
    def surface(self) -> SurfaceDistances:
        """The distances, for a metric with `needs_distances`."""
        assert self.further.distances is not None
        return self.further.distances

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return math.prod(self.spacing_mm) / 1000


class Metric(Record):
    """A metric's record.

    A metric without a direction is shown and never ranked. `reference_empty` and
    `prediction_empty` are what it counts where exactly that side is empty; None leaves it to the
    function, which then must not divide by that side. NaN stands for undefined: such a pair
    enters no mean, and the number of values beside the mean says so. `both_empty` and `missing` may
    be left to the function too; a missing prediction is measured as an empty one.
    """

    id: str = Field(
        pattern=r"^[a-z][a-z0-9_]*([@.]?[0-9.]+)?$",
        description="column of the score rows; the file's name, and a variant's parameter",
    )
    title: str = Field(description="as printed, such as DSC")
    definition: str = Field(description="one sentence: what it is, with its formula")
    unit: str = Field(default="", description="of its values; empty for a pure number")
    low: float = Field(description="smallest possible value")
    high: float = Field(description="largest possible value")
    direction: Direction = Field(description="which values are better")
    percent: bool = Field(default=False, description="printed in percent")
    parameter: Literal["", "tolerance_mm"] = Field(
        default="", description="column that it hangs on besides the masks"
    )
    needs_distances: bool = Field(
        default=False, description="made of the distances between the surfaces themselves"
    )
    band_voxels: float | None = Field(
        default=None, description="made of the bands of this width along the borders"
    )
    needs_instances: bool = Field(
        default=False, description="made of structures counted one by one, such as lesions"
    )
    both_empty: float | None = Field(description="what two empty sides count under `paper`")
    reference_empty: float | None = Field(description="what a false positive counts under `paper`")
    prediction_empty: float | None = Field(description="what an empty prediction counts")
    missing: float | None = Field(description="what a missing or failed prediction counts")
    version: int = Field(default=1, description="raised when the same masks give another value")
    function: Callable[[Measurement], float] = Field(
        description="its value where both sides hold something", exclude=True
    )

    @model_validator(mode="after")
    def _possible(self) -> Metric:
        if not self.low < self.high:
            raise ValueError(f"`low` {self.low:g} must be below `high` {self.high:g}")
        for name in ("both_empty", "reference_empty", "prediction_empty", "missing"):
            value = getattr(self, name)
            known = value is not None and not math.isnan(value)
            if known and not self.low <= value <= self.high:
                raise ValueError(f"`{name}` {value:g} lies outside the range")
        return self

    @property
    def ranked(self) -> bool:
        """Whether models are ranked and compared by it."""
        return self.direction != "none"

    @property
    def needs_more(self) -> bool:
        """Whether it is made of more than overlaps and areas within a tolerance."""
        return self.needs_distances or self.needs_instances or self.band_voxels is not None

    @property
    def sign(self) -> int:
        """1, or -1 where lower values are better: values times it are better the higher."""
        return -1 if self.direction == "lower" else 1

    @property
    def has_tolerance(self) -> bool:
        """Whether it has a value for each tolerance."""
        return self.parameter == "tolerance_mm"

    @property
    def range_text(self) -> str:
        """Such as `0..1`, `0 or more` or `any, in ml`."""
        if math.isfinite(self.high):
            ends = f"{self.low:g}..{self.high:g}"
        else:
            ends = f"{self.low:g} or more" if math.isfinite(self.low) else "any"
        return ends + (f", in {self.unit}" if self.unit else "")

    def value(self, measured: Measurement) -> float:
        """Its value in a score row; NaN where both sides are empty, which policies fill in."""
        if not measured.reference_voxels and not measured.prediction_voxels:
            return math.nan if self.both_empty is not None else self.function(measured)
        if not measured.reference_voxels and self.reference_empty is not None:
            return self.reference_empty
        if not measured.prediction_voxels and self.prediction_empty is not None:
            return self.prediction_empty
        return self.function(measured)


def distance_metric(
    name: str, title: str, definition: str, function: Callable[[SurfaceDistances], float]
) -> Metric:
    """A metric in mm of the distances between two surfaces.

    A structure that is missed, or found where none is, has no distance, neither 0 nor infinite.

    Args:
        name: its id.
        title: as printed.
        definition: what it is; what its points and weights are is said by the named definition.
        function: its value of the distances of both directions.
    """
    return Metric(
        id=name,
        title=title,
        definition=f"{definition}; undefined where a structure is missed, or found where none is",
        unit="mm",
        low=0,
        high=inf,
        direction="lower",
        needs_distances=True,
        both_empty=nan,
        reference_empty=nan,
        prediction_empty=nan,
        missing=nan,
        function=lambda measured: function(measured.surface),
    )


def instance_metric(
    name: str,
    title: str,
    definition: str,
    function: Callable[[InstanceScores], float],
    direction: Direction = "higher",
    unit: str = "",
) -> Metric:
    """A metric of the structures of a class counted one by one; NaN where they are not counted.

    Args:
        name: its id.
        title: as printed.
        definition: what it is.
        function: its value of the scores of a scan's instances.
        direction: which values are better; `higher` ones lie in 0..1 and are printed in percent.
            Of `lower` ones a missing prediction has none: as an empty one it would have the best.
        unit: of its values.
    """
    share = direction == "higher"
    return Metric(
        id=name,
        title=title,
        definition=definition,
        unit=unit,
        low=0,
        high=1 if share else inf,
        direction=direction,
        percent=share,
        needs_instances=True,
        both_empty=None,
        reference_empty=None,
        prediction_empty=None,
        missing=None if share else nan,
        function=lambda measured: (
            function(measured.further.instances) if measured.further.instances is not None else nan
        ),
    )
