"""Score rows as the drill-down needs them: one value per model, entry, class and case.

Tables say how good a model is on average; this module says on which cases. It never changes a
number: policies come from `evaluation.tables.policies`, the kind of a generated class (direct
before union) follows the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.paths import RunPaths
from evaluation.schema import spacing_from_text
from evaluation.tables.policies import policy_values, status_codes
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import load_rows
from reports.source import Protocol

METRIC_NAMES = ("dsc", "nsd")
_KINDS = {"annotated": 0, "direct": 1, "union": 2}


@dataclass(frozen=True)
class CaseRows:
    """All score rows of a run, one kind per model and class; text columns are categories.

    `leaked` are the (entry, case) that the view `clean` leaves out.
    """

    rows: pd.DataFrame
    leaked: frozenset[tuple[str, str]] = frozenset()

    def frame(self, protocol: Protocol) -> pd.DataFrame:
        """Rows of a protocol's space, tolerance and split view with its values.

        Columns: model, dataset, case, patient, class, status, reference_ml, dsc, nsd; a value is
        NaN where the policy does not score the pair. Coverage is not applied: these are single
        cases, not means.
        """
        found = _frame(self, protocol.space, protocol.tolerance_mm, protocol.policy)
        if protocol.view != "clean" or not self.leaked or found.empty:
            return found
        pairs = zip(found["dataset"].astype(str), found["case"].astype(str), strict=True)
        kept = np.fromiter((pair not in self.leaked for pair in pairs), bool, len(found))
        return found[kept].reset_index(drop=True)

    def __hash__(self) -> int:
        return id(self)


def load_case_rows(paths: RunPaths) -> CaseRows:
    """Read the score rows of a run; an empty frame if there are none."""
    expected, links = expected_of(paths.root)
    rows = load_rows(paths, expected)
    if rows.empty:
        return CaseRows(rows)
    order = rows["kind"].astype(str).map(_KINDS).to_numpy() + np.where(
        rows["status"].astype(str) == "unsupported", 10, 0
    )
    keys = [rows["model"].cat.codes, rows["dataset"].cat.codes, rows["class"].cat.codes]
    best = pd.Series(order).groupby([k.to_numpy() for k in keys]).transform("min")
    # The kind is chosen once per model, entry and class: the first by which it was ever scored.
    kind = rows["kind"].astype(str).map(_KINDS).to_numpy()
    return CaseRows(rows[kind == best.to_numpy() % 10].reset_index(drop=True), links.leaked)


@lru_cache(maxsize=4)
def _frame(source: CaseRows, space: str, tolerance_mm: float, policy: str) -> pd.DataFrame:
    rows = source.rows
    if rows.empty:
        return pd.DataFrame(
            columns=[
                "model",
                "dataset",
                "case",
                "patient",
                "class",
                "status",
                "reference_ml",
                *list(METRIC_NAMES),
            ]
        )
    part = rows[(rows["space"] == space) & (rows["tolerance_mm"] == tolerance_mm)]
    frame = part[["model", "dataset", "case", "patient", "class", "status"]].copy()
    texts = part["spacing_mm"].astype(str)
    volume = {t: prod(spacing_from_text(t)) / 1000 if t else np.nan for t in texts.unique()}
    frame["reference_ml"] = part["reference_voxels"].to_numpy() * texts.map(volume).to_numpy()
    status = status_codes(part["status"].astype(str))
    for metric in METRIC_NAMES:
        frame[metric] = policy_values(
            part[metric].to_numpy(),
            status,
            part["reference_voxels"].to_numpy(),
            part["prediction_voxels"].to_numpy(),
            policy,
        )
    return frame.reset_index(drop=True)


@dataclass(frozen=True)
class Extremes:
    """Worst, median and best case of one model on one class of an entry, by DSC."""

    worst: tuple[str, float]
    median: tuple[str, float]
    best: tuple[str, float]

    @property
    def items(self) -> tuple[tuple[str, str, float], ...]:
        """(which, case, DSC in 0..1)."""
        return (
            ("worst", *self.worst),
            ("median", *self.median),
            ("best", *self.best),
        )


def extremes(cases: NDArray[np.str_], scores: NDArray[np.float64]) -> Extremes | None:
    """Worst, median (the lower of the two middle ones) and best case; ties go by case id."""
    keep = np.isfinite(scores)
    if not keep.any():
        return None
    cases, scores = cases[keep], scores[keep]
    order = np.lexsort((cases, scores))
    pick = [order[0], order[(len(order) - 1) // 2], order[-1]]
    worst, median, best = ((str(cases[i]), float(scores[i])) for i in pick)
    return Extremes(worst, median, best)
