"""Score rows as the drill-down needs them: one value per model, entry, class and case.

Tables say how good a model is on average; this module says on which cases. It never changes a
number: policies and the kind of a generated class (direct before union) are those of the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from evaluation.schema import spacing_from_text
from evaluation.tables.kinds import preferred_rows
from evaluation.tables.policies import policy_values, status_codes
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import load_rows
from reports.source.measures import Measure

_PLACE = ["model", "dataset", "case", "patient", "class", "status"]


@dataclass(frozen=True, eq=False)
class CaseRows:
    """All score rows of a run, one kind per model and class; text columns are categories.

    `leaked` are the (entry, case) that the view `clean` leaves out.
    """

    rows: pd.DataFrame
    leaked: frozenset[tuple[str, str]] = frozenset()

    def frame(self, protocol: Protocol, measure: Measure) -> pd.DataFrame:
        """Values of a measure in a protocol's space, policy and view.

        Columns: model, dataset, case, patient, class, status, reference_ml, value (in the stored
        unit; NaN where the policy does not score the pair). Coverage is not applied: these are
        single cases, not means.
        """
        found = _frame(self, protocol.space, protocol.policy, measure)
        if protocol.view != "clean" or not self.leaked or found.empty:
            return found
        pairs = zip(found["dataset"].astype(str), found["case"].astype(str), strict=True)
        kept = np.fromiter((pair not in self.leaked for pair in pairs), bool, len(found))
        return found[kept].reset_index(drop=True)


def load_case_rows(paths: RunPaths) -> CaseRows:
    """Read the score rows of a run; an empty frame if there are none."""
    expected, links = expected_of(paths.root)
    rows = load_rows(paths, expected)
    return CaseRows(rows[preferred_rows(rows)].reset_index(drop=True), links.leaked)


@lru_cache(maxsize=8)
def _frame(source: CaseRows, space: str, policy: str, measure: Measure) -> pd.DataFrame:
    rows = source.rows
    if rows.empty:
        return pd.DataFrame(columns=[*_PLACE, "reference_ml", "value"])
    part = rows[rows["space"] == space]
    # A metric without a tolerance repeats its value at each.
    at = measure.tolerance_mm if measure.metric.has_tolerance else part["tolerance_mm"].min()
    part = part[part["tolerance_mm"] == at]
    frame = part[_PLACE].copy()
    texts = part["spacing_mm"].astype(str)
    volume = {t: prod(spacing_from_text(t)) / 1000 if t else np.nan for t in texts.unique()}
    frame["reference_ml"] = part["reference_voxels"].to_numpy() * texts.map(volume).to_numpy()
    frame["value"] = policy_values(
        measure.metric,
        part[measure.metric.id].to_numpy(),
        status_codes(part["status"].astype(str)),
        part["reference_voxels"].to_numpy(),
        part["prediction_voxels"].to_numpy(),
        policy,
        part["field_mm"].to_numpy(),
    )
    return frame.reset_index(drop=True)


def extremes(
    cases: NDArray[np.str_], values: NDArray[np.float64], measure: Measure
) -> list[tuple[str, str, float]]:
    """(which, case, value) of the worst, median and best case; nothing without a value.

    The median is the worse of the two middle ones; ties go by case id.
    """
    keep = np.isfinite(values)
    if not keep.any():
        return []
    cases, values = cases[keep], values[keep]
    order = np.lexsort((cases, measure.goodness(values)))
    picked = (order[0], order[(len(order) - 1) // 2], order[-1])
    names = ("worst", "median", "best")
    return [(n, str(cases[i]), float(values[i])) for n, i in zip(names, picked, strict=True)]
