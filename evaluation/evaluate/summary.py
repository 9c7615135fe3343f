"""Means of score rows by class under a named policy, with their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.schema import STATUSES
from evaluation.tables.policies import CODE, policy_values, status_codes

_SHOWN = [status for status in STATUSES if status != "scored"]


@dataclass(frozen=True)
class Summary:
    """Per class: n, mean DSC, mean NSD by tolerance (0..1), and how often each status occurs.

    Attributes:
        classes: one row per class: `class`, `n`, `dsc`, one column `nsd @ … mm` per tolerance, and
            a count for every status that occurs besides `scored`.
        overall: the same columns: the mean of the classes' means, and the mean of all scores.
    """

    classes: pd.DataFrame
    overall: pd.DataFrame


def summarise(rows: pd.DataFrame, policy: str) -> Summary:
    """Means under a policy (`evaluation.tables.policies`); the rows stay as they are.

    Args:
        rows: score rows of one model and one dataset.
        policy: `present-only` or `paper`.
    """
    status = status_codes(rows["status"])
    reference = rows["reference_voxels"].to_numpy(dtype=np.int64)
    predicted = rows["prediction_voxels"].to_numpy(dtype=np.int64)
    frame = rows[["class", "tolerance_mm", "status"]].copy()
    for metric in ("dsc", "nsd"):
        raw = rows[metric].to_numpy(dtype=np.float64)
        frame[metric] = policy_values(raw, status, reference, predicted, policy)
        scored = status == CODE["scored"]
        if scored.any() and not np.isfinite(raw[scored]).any():
            # Imported scores of the other metric only: zeros of what is missing are no mean.
            frame[metric] = np.nan
    order = list(dict.fromkeys(frame["class"]))
    # Imported scores may have no tolerance.
    frame["tolerance_mm"] = frame["tolerance_mm"].fillna(-1.0)
    tolerances = sorted(frame["tolerance_mm"].unique())
    first = frame[frame["tolerance_mm"] == tolerances[0]] if tolerances else frame
    table = pd.DataFrame({"class": order})
    by_class = first.groupby("class", sort=False)
    known = first["dsc"].notna() | first["nsd"].notna()
    table["n"] = known.groupby(first["class"], sort=False).sum().reindex(order).to_numpy()
    table["dsc"] = by_class["dsc"].mean().reindex(order).to_numpy()
    overall = pd.DataFrame({"class": ["mean of classes", "mean of scores"]})
    overall["n"] = int(known.sum())
    overall["dsc"] = [table["dsc"].mean(), first["dsc"].mean()]
    for tolerance in tolerances:
        part = frame[frame["tolerance_mm"] == tolerance]
        name = f"nsd @ {tolerance:g} mm" if tolerance >= 0 else "nsd"
        table[name] = part.groupby("class", sort=False)["nsd"].mean().reindex(order).to_numpy()
        overall[name] = [table[name].mean(), part["nsd"].mean()]
    for name in _SHOWN:
        counts = first[first["status"] == name].groupby("class", sort=False).size()
        if len(counts):
            table[name] = counts.reindex(order).fillna(0).astype(int).to_numpy()
            overall[name] = int(counts.sum())
    return Summary(table, overall)
