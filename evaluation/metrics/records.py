"""What one comparison of one class yields, and how its scores follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from evaluation.metrics.distances.definitions import DefinitionName
from evaluation.metrics.metric import Further, Measurement, Metric
from evaluation.protocol import Status
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace

if TYPE_CHECKING:
    from evaluation.metrics.instances.scores import InstanceRow


@dataclass(frozen=True)
class ClassPair:
    """One class to compare: where it lives in the reference and where in the prediction.

    `reference` is None where the class was not annotated, `prediction` is None where the model
    gives no answer (unsupported, or the whole prediction is missing).
    """

    name: str
    reference: ClassPlace | None
    prediction: ClassPlace | None


@dataclass(frozen=True)
class Counts:
    """What an engine measures of one pair; a side without a place counts as empty.

    Voxel numbers, and surface areas in mm² (contour lengths in mm for one-slice data): the total
    of each side and, for each tolerance, the part of it that lies within the tolerance of the
    other side's surface. `borders` are the border voxels of the reference, of the prediction and of
    both, where they were asked for.
    """

    reference_voxels: int
    prediction_voxels: int
    intersection_voxels: int
    reference_total: float
    prediction_total: float
    reference_within: tuple[float, ...]
    prediction_within: tuple[float, ...]
    borders: tuple[int, int, int] | None = None


class Engine(Protocol):
    """A way to measure many pairs on one grid."""

    def __call__(
        self,
        reference: Sequence[Array],
        prediction: Sequence[Array],
        pairs: Sequence[ClassPair],
        spacing_mm: tuple[float, float, float],
        tolerances_mm: Sequence[float],
    ) -> list[Counts]:
        """Counts of every pair, in order; layers are integer arrays (x, y, z) of one shape."""
        ...


@dataclass(frozen=True)
class ClassScore:
    """The metrics of one class at one tolerance, with all that any policy needs.

    `values` holds each metric asked for by id. A value is NaN where there is nothing to score
    (`both_empty`, `prediction_missing`, `unsupported`, `not_annotated`) and what the metric's
    record says where exactly one side is empty; of a metric whose record leaves it to what was
    measured, also where a prediction is missing. Numbers of a side that is not known (the
    reference of a `not_annotated` class, the prediction where it is `prediction_missing` or
    `unsupported`) are None or NaN. Areas are in mm², for one-slice data contour lengths in mm
    (the implementation's name then ends in `-2d`), always of surface elements; `definition` is that
    of the metrics made of surfaces. `field_mm` is the diagonal of the scan's field. `instances` are
    the structures counted one by one, where a metric needs them.
    """

    class_name: str
    tolerance_mm: float
    status: Status
    values: Mapping[str, float]
    reference_voxels: int | None = None
    prediction_voxels: int | None = None
    intersection_voxels: int | None = None
    surface_reference_total_mm2: float = math.nan
    surface_reference_within_mm2: float = math.nan
    surface_prediction_total_mm2: float = math.nan
    surface_prediction_within_mm2: float = math.nan
    implementation: str = ""
    version: str = ""
    definition: str = ""
    field_mm: float = math.nan
    instances: tuple[InstanceRow, ...] = ()

    def __getitem__(self, metric: str) -> float:
        """Value of a metric: `score["dsc"]`."""
        return self.values[metric]


@dataclass(frozen=True)
class Scoring:
    """What all pairs of a comparison have in common.

    Args:
        metrics: those asked for.
        spacing_mm: voxel size.
        tolerances_mm: the tolerances of the counts, in order.
        missing: there is no prediction for the whole case.
        implementation: name of the engine.
        version: version of the engine.
        definition: of surfaces and their distances.
        field_mm: diagonal of the scan's field.
    """

    metrics: Sequence[Metric]
    spacing_mm: tuple[float, float, float]
    tolerances_mm: Sequence[float]
    missing: bool
    implementation: str
    version: str
    definition: DefinitionName
    field_mm: float


def class_scores(
    pair: ClassPair, counts: Counts, scoring: Scoring, further: Further
) -> list[ClassScore]:
    """One record per tolerance from what an engine measured of a pair."""
    known = pair.reference is not None, pair.prediction is not None
    status = _status(pair, counts, scoring.missing)
    has_value = status in ("scored", "reference_empty", "prediction_empty")
    unanswered = status in ("prediction_missing", "unsupported")
    scores = []
    # What has no tolerance is the same at all of them.
    values: dict[str, float] = {}
    for index, tolerance in enumerate(scoring.tolerances_mm):
        measured = Measurement(
            scoring.spacing_mm,
            tolerance,
            counts.reference_voxels,
            counts.prediction_voxels,
            counts.intersection_voxels,
            counts.reference_total,
            counts.reference_within[index],
            counts.prediction_total,
            counts.prediction_within[index],
            further,
        )
        values = {
            metric.id: values[metric.id]
            if index and not metric.has_tolerance
            else metric.value(measured)
            if has_value
            or (unanswered and metric.missing is None)
            or (status == "both_empty" and metric.both_empty is None)
            else math.nan
            for metric in scoring.metrics
        }
        scores.append(
            ClassScore(
                class_name=pair.name,
                tolerance_mm=tolerance,
                status=status,
                values=values,
                reference_voxels=counts.reference_voxels if known[0] else None,
                prediction_voxels=counts.prediction_voxels if known[1] else None,
                intersection_voxels=counts.intersection_voxels if all(known) else None,
                surface_reference_total_mm2=counts.reference_total if known[0] else math.nan,
                surface_reference_within_mm2=counts.reference_within[index]
                if all(known)
                else math.nan,
                surface_prediction_total_mm2=counts.prediction_total if known[1] else math.nan,
                surface_prediction_within_mm2=counts.prediction_within[index]
                if all(known)
                else math.nan,
                implementation=scoring.implementation,
                version=scoring.version,
                definition=scoring.definition,
                field_mm=scoring.field_mm,
                instances=further.instance_rows,
            )
        )
    return scores


def _status(pair: ClassPair, counts: Counts, missing: bool) -> Status:
    if pair.reference is None:
        return "not_annotated"
    if missing:
        return "prediction_missing"
    if pair.prediction is None:
        return "unsupported"
    if counts.reference_voxels == 0:
        return "both_empty" if counts.prediction_voxels == 0 else "reference_empty"
    return "prediction_empty" if counts.prediction_voxels == 0 else "scored"
