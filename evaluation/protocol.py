"""How a number is read off score rows: the choices, their words, and the headline's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import pandas as pd

Status: TypeAlias = Literal[
    "scored",
    "both_empty",
    "reference_empty",
    "prediction_empty",
    "prediction_missing",
    "unsupported",
    "not_annotated",
]
Kind: TypeAlias = Literal["annotated", "direct", "union"]
Side: TypeAlias = Literal["train", "validation", "test"]
Space: TypeAlias = Literal["native", "resampled", "own", "cropped"]
Policy: TypeAlias = Literal["present-only", "paper", "field-diagonal"]
View: TypeAlias = Literal["paper", "clean"]
Coverage: TypeAlias = Literal["supported", "common", "zero"]
Aggregation: TypeAlias = Literal["macro", "scans", "patients"]
Scheme: TypeAlias = Literal["anatomical", "as-printed"]
Composition: TypeAlias = Literal["all", "leaves", "merged"]
Statistic: TypeAlias = Literal["entries", "classes", "regions", "scans", "patients"]

STATUSES: tuple[Status, ...] = get_args(Status)
KINDS: tuple[Kind, ...] = get_args(Kind)
SIDES: tuple[Side, ...] = get_args(Side)
"""Of a split; a case for validation is neither trained on nor tested."""
SPACES: tuple[Space, ...] = get_args(Space)
STUDY_SPACES = frozenset({"resampled", "cropped"})
"""Those that the run's study describes; what its code takes for a class (`study_values`) holds."""
UNRANKED = frozenset({"cropped"})
"""Spaces in which nobody is ranked: false positives far from the reference cost nothing there."""
POLICIES: tuple[Policy, ...] = get_args(Policy)
VIEWS: tuple[View, ...] = get_args(View)
COVERAGES: tuple[Coverage, ...] = get_args(Coverage)
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
COMPOSITIONS: tuple[Composition, ...] = get_args(Composition)
DEFAULT_METRICS = ("dsc", "nsd")
"""What is measured where nothing else is asked for."""
INSTANCE_METRICS = (
    "lesion_dsc", "lesion_f1", "lesion_precision", "lesion_recall", "panoptic_quality",
    "false_lesions", "false_lesion_volume",
)  # fmt: skip
"""What is measured where lesions are counted one by one."""


@dataclass(frozen=True)
class Protocol:
    """Under which choices a number was made; the defaults are the headline's.

    Args:
        policy: what empty masks count.
        space: grid on which masks were compared.
        tolerance_mm: of the metrics that have one; NaN = at every tolerance.
        view: test cases.
        coverage: classes of models that leave some out.
        aggregation: how scores become one number.
        metric: id of the metric that ranks.
        scheme: how classes are given to regions.
        composition: classes of a region's mean.
        statistic: a model's one number.
    """

    policy: str = "present-only"
    space: str = "native"
    tolerance_mm: float = 1.0
    view: str = "paper"
    coverage: str = "supported"
    aggregation: str = "macro"
    metric: str = "dsc"
    scheme: str = "anatomical"
    composition: str = "all"
    statistic: str = "entries"

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of a result table in this reading: every metric, those with a tolerance at ours.

        Regions, compositions and statistics are all kept; what the table has no column for
        decides nothing.
        """
        return self._with(frame, ("policy", "space", "view", "coverage", "aggregation"))

    def numbers(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of our metric, in our scheme, composition and statistic: one for each number."""
        chosen = ("metric", "scheme", "composition", "statistic")
        return self._with(self.rows(frame), chosen)

    def _with(self, frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
        keep = pd.Series(data=True, index=frame.index)
        for column in columns:
            if column in frame.columns:
                keep &= frame[column] == getattr(self, column)
        if "tolerance_mm" in frame.columns and not math.isnan(self.tolerance_mm):
            keep &= frame["tolerance_mm"].isna() | (frame["tolerance_mm"] == self.tolerance_mm)
        return frame[keep]


HEADLINE = Protocol()
"""What ranks: native grid, classes that the reference holds, DSC, all test cases."""
