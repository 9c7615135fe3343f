"""Would another choice change the winner? One choice at a time, against the headline.

Each question is one row: in each space, and for NSD at each tolerance. DSC has no tolerance, so
its rows are there once, whatever the number of tolerances. One model alone is no question, nor is
the view `clean` where it leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from evaluation.schema import METRICS, SENSITIVITY
from evaluation.tables.ranking import kendall_tau

HEADLINE = {
    "policy": "present-only",
    "view": "paper",
    "coverage": "supported",
    "aggregation": "macro",
    "scheme": "anatomical",
    "composition": "all",
    "statistic": "entries",
    "kind": "direct",
}
_SHARED = ("policy", "view", "coverage", "aggregation")
_OF_TABLE = {"overall": ("statistic",), "dataset": (), "region": ("scheme", "composition")}
_QUESTION = [
    "data_kind", "space", "tolerance_mm", "choice", "alternative", "scope", "key", "metric",
]  # fmt: skip
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
    needed = (*_OF_TABLE, "dataset_class")
    tables = {name: tables[name][tables[name]["model"].isin(models)] for name in needed}
    rows = [row for name in _OF_TABLE for row in _of_table(tables[name], name)]
    rows += _other_kind(tables["dataset_class"])
    rows += [row for name in _OF_TABLE for row in _other_space(tables[name], name)]
    found = pd.DataFrame(rows, columns=SENSITIVITY.names)
    found["tolerance_mm"] = found["tolerance_mm"].where(found["metric"] != "dsc")
    return found.drop_duplicates(_QUESTION, ignore_index=True)


def _of_table(frame: pd.DataFrame, name: str) -> Iterator[dict[str, object]]:
    choices = (*_SHARED, *_OF_TABLE[name])
    for choice in choices:
        others = {c: HEADLINE[c] for c in choices if c != choice}
        if name == "overall" and choice == "aggregation":
            # A pooled number is another statistic as well.
            others.pop("statistic")
        part = frame
        for column, value in others.items():
            part = part[part[column] == value]
        part = part[part["aggregation"].eq(HEADLINE["aggregation"]) | (choice == "aggregation")]
        if name == "overall" and choice == "aggregation":
            part = part[part["statistic"].isin([HEADLINE["statistic"], "scans", "patients"])]
        yield from _compare(part, name, choice, HEADLINE[choice])


def _other_space(frame: pd.DataFrame, name: str) -> Iterator[dict[str, object]]:
    for column in (*_SHARED, *_OF_TABLE[name]):
        frame = frame[frame[column] == HEADLINE[column]]
    if "native" in set(frame["space"]):
        yield from _compare(frame, name, "space", "native")


def _other_kind(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Generated classes as unions of predicted parts, where a model also predicts them directly."""
    for column in _SHARED:
        frame = frame[frame[column] == HEADLINE[column]]
    if frame.empty or frame["preferred"].all():
        return []
    group = ["data_kind", "space", "tolerance_mm", "model", "dataset"]
    union = frame.sort_values("preferred", kind="stable").drop_duplicates([*group, "class"])
    counted = {"dsc": "mean", "nsd": "mean", "n_scores": "sum", "n_missing": "sum"}
    parts = []
    for label, chosen in (("direct", frame[frame["preferred"]]), ("union", union)):
        means = chosen.groupby(group, as_index=False).agg(counted)
        parts.append(means.assign(kind=label))
    entries = pd.concat(parts, ignore_index=True)
    overall = entries.groupby(
        ["data_kind", "space", "tolerance_mm", "model", "kind"], as_index=False
    ).agg(counted)
    return [
        *_compare(overall, "overall", "kind", "direct"),
        *_compare(entries, "dataset", "kind", "direct"),
    ]


def _compare(
    frame: pd.DataFrame, scope: str, choice: str, baseline: str
) -> Iterator[dict[str, object]]:
    head = ["data_kind", "tolerance_mm"] + (["space"] if choice != "space" else [])
    key = _KEY[scope]
    groups = frame.groupby([*head, *([key] if key else [])], observed=True, sort=True)
    for labels, group in groups:
        named = dict(zip([*head, *([key] if key else [])], labels, strict=True))
        every = group[group[choice] == baseline].set_index("model")
        complete = (every["n_scores"] == every["n_scores"].max()) & (every["n_missing"] == 0)
        usual = every[complete]
        for alternative in sorted(set(group[choice]) - {baseline}):
            other = group[group[choice] == alternative].set_index("model")
            if choice == "view" and other["n_scores"].equals(every["n_scores"]):
                continue
            for metric in METRICS:
                both = pd.concat([usual[metric], other[metric]], axis=1, keys=["a", "b"]).dropna()
                if len(both) < 2:
                    continue
                yield {
                    "data_kind": named["data_kind"],
                    "space": named.get("space", baseline),
                    "tolerance_mm": named["tolerance_mm"],
                    "choice": choice,
                    "baseline": baseline,
                    "alternative": alternative,
                    "scope": scope,
                    "key": named[key] if key else "all",
                    "metric": metric,
                    **_changes(both),
                }


def _changes(both: pd.DataFrame) -> dict[str, object]:
    values = both.to_numpy(dtype=float).T
    ranks = rankdata(np.round(-values, 12), axis=1)
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
