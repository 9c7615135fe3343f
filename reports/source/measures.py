"""A run's metrics as they are printed: one measure for each metric and tolerance.

Result tables keep values as they were measured. Here a metric gets its printed name, unit and
direction, and each tolerance of the run becomes a measure of its own: a column, panel or switch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.metrics.catalogue import find_metric
from evaluation.metrics.metric import Metric


@dataclass(frozen=True, eq=False)
class Measure:
    """One metric, at one tolerance if it has any.

    Args:
        metric: its record.
        tolerance_mm: NaN where it has none.
        alone: the run has no other tolerance of this metric, so none is named.
    """

    metric: Metric
    tolerance_mm: float
    alone: bool = True

    @property
    def key(self) -> str:
        """For columns of files: `dsc`, or `nsd_2mm` where the run has several tolerances."""
        return self.metric.id if self.alone else f"{self.metric.id}_{self.tolerance_mm:g}mm"

    @property
    def words(self) -> str:
        """Within a sentence: `DSC`, `NSD 2 mm`, `volume difference`."""
        return self.metric.title if self.alone else f"{self.metric.title} {self.tolerance_mm:g} mm"

    @property
    def title(self) -> str:
        """By itself: `Volume difference`."""
        return self.words[0].upper() + self.words[1:]

    @property
    def unit(self) -> str:
        """As printed: `%`, `ml`, `mm`; empty for a pure number."""
        return "%" if self.metric.percent else self.metric.unit

    @property
    def label(self) -> str:
        """For an axis: `DSC (%)`."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def head(self) -> str:
        """For a column: percent is the rule, so only another unit is named."""
        return self.title if self.metric.percent else self.label

    @property
    def points(self) -> str:
        """Unit of a difference."""
        return "percentage points" if self.metric.percent else self.unit

    @property
    def better(self) -> str:
        """`higher` or `lower`; empty: shown, never ranked."""
        return self.metric.direction if self.metric.ranked else ""

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest possible printed value; infinite where there is none."""
        return self.scaled(self.metric.low), self.scaled(self.metric.high)

    def scaled(self, value: Any) -> Any:
        """A stored value, or an array of them, in the printed unit."""
        return 100.0 * value if self.metric.percent else value

    def printed(self, value: Any) -> float | None:
        """A stored value in the printed unit; None for none."""
        return None if value is None or pd.isna(value) else float(self.scaled(value))

    @property
    def digits(self) -> int:
        """Decimals on pages; tables have one more of a percentage."""
        return 1 if self.metric.percent else 2

    def short(self, value: float) -> str:
        """A stored value by name: `DSC 91.4`, `Volume difference -2.31 ml`."""
        unit = f" {self.unit}" if self.unit and not self.metric.percent else ""
        return f"{self.title} {self.scaled(value):.{self.digits}f}{unit}"

    def between(self, low: float, high: float) -> str:
        """An interval of printed values; a dash between numbers that may be negative misleads."""
        return f"{low:.2f}{'–' if self.metric.low >= 0 else ' to '}{high:.2f}"

    def goodness(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The larger, the better; without a direction, the nearer to 0."""
        return values * self.metric.sign if self.better else -np.abs(values)


def measures_of(frame: pd.DataFrame) -> tuple[Measure, ...]:
    """The measures of a result table (`metric`, `tolerance_mm`), in its order of metrics."""
    pairs = frame[["metric", "tolerance_mm"]].drop_duplicates().astype({"metric": str})
    found = []
    for name, part in pairs.groupby("metric", sort=False):
        tolerances = sorted(part["tolerance_mm"])
        found += [Measure(find_metric(str(name)), t, len(tolerances) == 1) for t in tolerances]
    return tuple(found)


def with_measure(frame: pd.DataFrame, measures: Iterable[Measure]) -> pd.DataFrame:
    """The rows of these measures with their key in a column `measure`."""
    parts = []
    for measure in measures:
        same = frame["metric"] == measure.metric.id
        if measure.metric.has_tolerance:
            same &= frame["tolerance_mm"] == measure.tolerance_mm
        parts.append(frame[same].assign(measure=measure.key))
    return pd.concat(parts).sort_index() if parts else frame.assign(measure="")
