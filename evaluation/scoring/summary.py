"""Means of score rows by class under a named policy, with their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.metrics.catalogue import metrics_among
from evaluation.metrics.metric import Metric
from evaluation.protocol import STATUSES
from evaluation.tables.policies import never_measured, policy_values, status_codes

_SHOWN = [status for status in STATUSES if status != "scored"]


@dataclass(frozen=True)
class Summary:
    """Per class: n, mean of each metric (by tolerance), and how often each status occurs.

    Attributes:
        classes: one row per class: `class`, `n`, one column for each metric without a tolerance
            (`dsc`), one for each tolerance of the others (`nsd @ … mm`), beside it its own n
            where some values are undefined (`hd95 (mm), n`), and a count for every status that
            occurs besides `scored`.
        overall: the same columns: the mean of the classes' means, and the mean of all scores.
    """

    classes: pd.DataFrame
    overall: pd.DataFrame


def summarise(rows: pd.DataFrame, policy: str) -> Summary:
    """Means under a policy (`evaluation.tables.policies`); the rows stay as they are.

    Args:
        rows: score rows of one model and one dataset.
        policy: `present-only`, `field-diagonal` or `paper`.
    """
    codes = status_codes(rows["status"])[:, None]
    metrics = [
        metric
        for metric in metrics_among(rows.columns)
        # Another tool's file may know others.
        if not never_measured(rows[metric.id].to_numpy(dtype=np.float64)[:, None], codes)[0]
    ]
    frame = rows[["class", "tolerance_mm", "status"]].copy()
    for metric in metrics:
        frame[metric.id] = values_under(rows, metric, policy)
    order = list(dict.fromkeys(frame["class"]))
    # Imported scores may have no tolerance.
    frame["tolerance_mm"] = frame["tolerance_mm"].fillna(-1.0)
    tolerances = sorted(frame["tolerance_mm"].unique())
    first = frame[frame["tolerance_mm"] == tolerances[0]] if tolerances else frame
    known = first[[metric.id for metric in metrics]].notna().any(axis=1)
    table = pd.DataFrame({"class": order})
    table["n"] = known.groupby(first["class"], sort=False).sum().reindex(order).to_numpy()
    overall = pd.DataFrame({"class": ["mean of classes", "mean of scores"]})
    overall["n"] = int(known.sum())
    for metric in metrics:
        for tolerance in tolerances if metric.has_tolerance else tolerances[:1]:
            part = frame[frame["tolerance_mm"] == tolerance]
            name = _column(metric, tolerance)
            means = part.groupby("class", sort=False)[metric.id].mean()
            table[name] = means.reindex(order).to_numpy()
            overall[name] = [table[name].mean(), part[metric.id].mean()]
            count = part.groupby("class", sort=False)[metric.id].count().reindex(order).to_numpy()
            if (count != table["n"]).any():
                # What is undefined is left out of the mean: the number stands beside it.
                table[f"{name}, n"] = count
                overall[f"{name}, n"] = int(count.sum())
    for status in _SHOWN:
        counts = first[first["status"] == status].groupby("class", sort=False).size()
        if len(counts):
            table[status] = counts.reindex(order).fillna(0).astype(int).to_numpy()
            overall[status] = int(counts.sum())
    return Summary(table, overall)


def values_under(rows: pd.DataFrame, metric: Metric, policy: str) -> NDArray[np.float64]:
    """What each row counts under a policy; NaN: nothing."""
    raw = rows[metric.id].to_numpy(dtype=np.float64)
    status = status_codes(rows["status"])
    if never_measured(raw[:, None], status[:, None])[0]:
        return np.full(len(raw), np.nan)
    reference = rows["reference_voxels"].to_numpy(dtype=np.int64)
    predicted = rows["prediction_voxels"].to_numpy(dtype=np.int64)
    field_mm = rows["field_mm"].to_numpy(dtype=np.float64)
    return policy_values(metric, raw, status, reference, predicted, policy, field_mm)


def _column(metric: Metric, tolerance_mm: float) -> str:
    name = f"{metric.id} ({metric.unit})" if metric.unit else metric.id
    return f"{name} @ {tolerance_mm:g} mm" if metric.has_tolerance and tolerance_mm >= 0 else name
