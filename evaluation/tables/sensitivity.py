"""Would another choice change the winner? One choice at a time, against the headline.

Each question is one row: in each space, and for a metric with a tolerance at each of them. A
metric without a better side has no winner. One model alone is no question, nor is the view
`clean` where it leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from evaluation.metrics.catalogue import find_metric, metrics_among
from evaluation.protocol import HEADLINE, UNRANKED
from evaluation.schema import SENSITIVITY
from evaluation.tables.ranking import kendall_tau

# The kind of a generated class that enters the means, where a model has both.
_KIND = "direct"
_SHARED = ("policy", "view", "coverage", "aggregation")
_OF_TABLE = {"overall": ("statistic",), "dataset": (), "region": ("scheme", "composition")}
_MEASURED = ["data_kind", "metric", "tolerance_mm"]
_KEY = {"overall": None, "dataset": "dataset", "region": "region"}


def sensitivity(tables: Mapping[str, pd.DataFrame], models: Collection[str]) -> pd.DataFrame:
    """Change one choice at a time and see whether the winner or a rank changes.

    Args:
        tables: frames of `overall`, `dataset`, `region` and `dataset_class`.
        models: those that compete; a control that leads everywhere would hide every change.

    Returns:
        The table `sensitivity`; only models that have the headline's full set, each value by a
        prediction, are compared.
    """
    measured = tables["overall"]["metric"].unique()
    ranked = [metric.id for metric in metrics_among(measured) if metric.ranked]
    tables = {
        name: frame[
            frame["model"].isin(models)
            & frame["metric"].isin(ranked)
            & ~frame["space"].isin(UNRANKED)
        ]
        for name, frame in tables.items()
        if name in (*_OF_TABLE, "dataset_class")
    }
    rows = [row for name in _OF_TABLE for row in _of_table(tables[name], name)]
    rows += _other_kind(tables["dataset_class"])
    rows += [row for name in _OF_TABLE for row in _other_space(tables[name], name)]
    return pd.DataFrame(rows, columns=SENSITIVITY.names)


def _of_table(frame: pd.DataFrame, name: str) -> Iterator[dict[str, object]]:
    choices = (*_SHARED, *_OF_TABLE[name])
    for choice in choices:
        others = {c: getattr(HEADLINE, c) for c in choices if c != choice}
        if name == "overall" and choice == "aggregation":
            # A pooled number is another statistic as well.
            others.pop("statistic")
        part = frame
        for column, value in others.items():
            part = part[part[column] == value]
        part = part[part["aggregation"].eq(HEADLINE.aggregation) | (choice == "aggregation")]
        if name == "overall" and choice == "aggregation":
            part = part[part["statistic"].isin([HEADLINE.statistic, "scans", "patients"])]
        yield from _compare(part, name, choice, getattr(HEADLINE, choice))


def _other_space(frame: pd.DataFrame, name: str) -> Iterator[dict[str, object]]:
    for column in (*_SHARED, *_OF_TABLE[name]):
        frame = frame[frame[column] == getattr(HEADLINE, column)]
    if HEADLINE.space in set(frame["space"]):
        yield from _compare(frame, name, "space", HEADLINE.space)


def _other_kind(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Generated classes as unions of predicted parts, where a model also predicts them directly."""
    for column in _SHARED:
        frame = frame[frame[column] == getattr(HEADLINE, column)]
    if frame.empty or frame["preferred"].all():
        return []
    measured = [*_MEASURED, "space", "model"]
    group = [*measured, "dataset"]
    union = frame.sort_values("preferred", kind="stable").drop_duplicates([*group, "class"])
    counted = {"value": "mean", "n_scores": "sum", "n_missing": "sum"}
    parts = []
    for label, chosen in ((_KIND, frame[frame["preferred"]]), ("union", union)):
        means = chosen.groupby(group, as_index=False, dropna=False).agg(counted)
        parts.append(means.assign(kind=label))
    entries = pd.concat(parts, ignore_index=True)
    overall = entries.groupby([*measured, "kind"], as_index=False, dropna=False).agg(counted)
    return [
        *_compare(overall, "overall", "kind", _KIND),
        *_compare(entries, "dataset", "kind", _KIND),
    ]


def _compare(
    frame: pd.DataFrame, scope: str, choice: str, baseline: str
) -> Iterator[dict[str, object]]:
    head = _MEASURED + (["space"] if choice != "space" else [])
    key = _KEY[scope]
    columns = [*head, *([key] if key else [])]
    for labels, group in frame.groupby(columns, observed=True, sort=True, dropna=False):
        named = dict(zip(columns, labels, strict=True))
        every = group[group[choice] == baseline].set_index("model")
        metric = find_metric(str(named["metric"]))
        for alternative in sorted(set(group[choice]) - {baseline}):
            other = group[group[choice] == alternative].set_index("model")
            if choice == "view" and other["n_scores"].equals(every["n_scores"]):
                continue
            whole = every
            if alternative == "field-diagonal":
                if not metric.needs_distances:
                    continue
                # What the headline leaves out is what this choice is about.
                whole = other
            complete = (whole["n_scores"] == whole["n_scores"].max()) & (whole["n_missing"] == 0)
            usual = every.loc[complete.reindex(every.index, fill_value=False), "value"]
            both = pd.concat([usual, other["value"]], axis=1, keys=["a", "b"]).dropna()
            if len(both) < 2:
                continue
            yield {
                "data_kind": named["data_kind"],
                "space": named.get("space", baseline),
                "choice": choice,
                "baseline": baseline,
                "alternative": alternative,
                "scope": scope,
                "key": named[key] if key else "all",
                "metric": named["metric"],
                "tolerance_mm": named["tolerance_mm"],
                **_changes(both, metric.sign),
            }


def _changes(both: pd.DataFrame, sign: int) -> dict[str, object]:
    values = both.to_numpy(dtype=float).T
    ranks = rankdata(np.round(-sign * values, 12), axis=1)
    first, second = (_winner(both.index.tolist(), rank) for rank in ranks)
    return {
        "winner_baseline": first,
        "winner_alternative": second,
        "flips": first != second,
        "kendall_tau": float(kendall_tau(ranks[0], ranks[1])[0]),
        "largest_rank_change": float(np.abs(ranks[0] - ranks[1]).max()),
        "largest_change": float(np.abs(values[0] - values[1]).max()),
        "n_models": len(both),
    }


def _winner(models: list[str], ranks: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    """The best model, or all of them if several share the first place."""
    best = ranks == ranks.min()
    return " = ".join(model for model, first in zip(models, best, strict=True) if first)
