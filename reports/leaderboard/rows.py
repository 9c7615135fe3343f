"""The leaderboard's numbers as compact columns: whole numbers of 1e-4, ids instead of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.per_case import METRIC_NAMES, CaseRows, extremes
from reports.source import Protocol, RunSource

LIMITS = {"dsc": "dsc", "dl": "dsc_low", "dh": "dsc_high",
          "nsd": "nsd", "nl": "nsd_low", "nh": "nsd_high"}  # fmt: skip
SIZES = {"n": "n_cases", "p": "n_patients", "c": "n_classes", "e": "n_classes_expected",
         "x": "n_missing"}  # fmt: skip
EXACT_VALUES = 40
BINS = 25


@dataclass(frozen=True)
class Ids:
    """Numbers that stand for names in the payload.

    `classes` are (modality, name); `slots` (dataset, class) by number; `keys` (level, id) of the
    precomputed means.
    """

    models: list[str]
    datasets: list[str]
    classes: list[tuple[str, str]]
    slots: list[tuple[int, int]]
    keys: list[tuple[str, str]]

    @classmethod
    def of(cls, source: RunSource) -> Ids:
        """Number everything that a run's tables name."""
        frame = source.table("dataset_class")
        triples: list[tuple[str, str, str]] = []
        if frame is not None:
            frame = frame[frame["preferred"]]
            unique = frame[["dataset", "modality", "class"]].drop_duplicates()
            triples = [(str(a), str(b), str(c)) for a, b, c in unique.itertuples(index=False)]
        datasets = list(source.dataset_cards)
        datasets += sorted({d for d, _, _ in triples} - set(datasets))
        classes = sorted({(m, c) for _, m, c in triples}, key=lambda k: (k[1], k[0]))
        place = {key: i for i, key in enumerate(classes)}
        number = {d: i for i, d in enumerate(datasets)}
        slots = sorted({(number[d], place[m, c]) for d, m, c in triples})
        keys: list[tuple[str, str]] = []
        for level, table, column in (
            ("overall", "overall", "statistic"),
            ("region", "region", "region"),
            ("dataset", "dataset", "dataset"),
        ):
            rows = source.table(table)
            if rows is not None:
                names = rows[column].drop_duplicates().astype(str)
                keys += [(level, n) for n in names]
        keys = [k for k in keys if k[0] != "overall" or k[1] not in ("scans", "patients")]
        rows = source.table("class")
        if rows is not None:
            pairs = rows[rows["modality"] != "any"][["modality", "class"]].drop_duplicates()
            keys += [("class", f"{m}|{c}") for m, c in pairs.itertuples(index=False)]
        return cls(source.models, datasets, classes, slots, keys)


def settings_of(source: RunSource) -> list[Protocol]:
    """Every combination of switches that was aggregated, the headline first."""
    overall = source.table("overall")
    if overall is None:
        return []
    columns = ["policy", "space", "tolerance_mm", "view", "coverage", "aggregation"]
    found = overall[overall["aggregation"] == "macro"][columns].drop_duplicates()
    settings = [Protocol(**dict(zip(columns, row, strict=True))) for row in
                found.itertuples(index=False, name=None)]  # fmt: skip
    headline = source.protocols[0]
    return sorted(
        settings,
        key=lambda s: (
            s != headline,
            s.space != "native",
            s.space,
            s.tolerance_mm != headline.tolerance_mm,
            s.tolerance_mm,
            s.policy != "present-only",
            s.view != "paper",
            s.coverage != "supported",
            s.coverage,
        ),
    )


def group_columns(source: RunSource, setting: Protocol, ids: Ids) -> dict[str, list[Any]]:
    """Precomputed means (overall, region, dataset, class) of a setting as columns."""
    parts = []
    for level, column in (
        ("overall", "statistic"),
        ("region", "region"),
        ("dataset", "dataset"),
        ("class", "class"),
    ):
        frame = source.pick(level, setting)
        if frame is None:
            continue
        if level == "region":
            frame = frame[(frame["scheme"] == "anatomical") & (frame["composition"] == "all")]
            names = frame["region"]
        elif level == "class":
            frame = frame[frame["modality"] != "any"]
            names = frame["modality"] + "|" + frame["class"]
        else:
            names = frame[column]
        # Entries that nobody ran do not make a model incomplete; classes that others have do.
        most = frame.groupby(names.to_numpy())["n_scores"].transform("max")
        complete = frame["complete"] if "complete" in frame.columns else frame["n_scores"] == most
        kept = frame[["model", *LIMITS.values(), *SIZES.values()]]
        parts.append(kept.assign(key=names, level=level, complete=complete))
    if not parts:
        return {}
    frame = pd.concat(parts, ignore_index=True)
    index = {key: i for i, key in enumerate(ids.keys)}
    keys = [index.get(k, -1) for k in zip(frame["level"], frame["key"].astype(str), strict=True)]
    frame = frame.assign(k=keys)[np.array(keys) >= 0]
    columns: dict[str, list[Any]] = {
        "m": [ids.models.index(m) for m in frame["model"]],
        "k": frame["k"].tolist(),
    }
    columns |= {short: _scaled(frame[name]) for short, name in LIMITS.items()}
    columns |= {short: frame[name].astype(int).tolist() for short, name in SIZES.items()}
    return columns | {"f": frame["complete"].astype(int).tolist()}


def score_columns(source: RunSource, setting: Protocol, ids: Ids) -> dict[str, list[Any]]:
    """Means of every (entry, class) of a setting as columns."""
    frame = source.pick("dataset_class", setting)
    if frame is None:
        return {}
    frame = frame[frame["preferred"]]
    place = {key: i for i, key in enumerate(ids.classes)}
    number = {d: i for i, d in enumerate(ids.datasets)}
    slot = {key: i for i, key in enumerate(ids.slots)}
    slots = [
        slot[number[d], place[m, c]]
        for d, m, c in frame[["dataset", "modality", "class"]].itertuples(index=False)
    ]
    models = {m: i for i, m in enumerate(ids.models)}
    columns: dict[str, list[Any]] = {"m": [models[m] for m in frame["model"]], "s": slots}
    columns |= {short: _scaled(frame[name]) for short, name in LIMITS.items()}
    return columns | {short: frame[SIZES[short]].astype(int).tolist() for short in ("n", "p", "x")}


def rank_rows(source: RunSource, setting: Protocol, ids: Ids) -> dict[str, dict[int, list[float]]]:
    """Overall ranks with their intervals: metric → model → [rank, low, high]."""
    frame = source.overall_ranks(setting)
    if frame is None:
        return {}
    frame = frame[frame["method"] == "mean-then-rank"]
    found: dict[str, dict[int, list[float]]] = {}
    for _, row in frame.iterrows():
        if row["model"] in ids.models and np.isfinite(row["rank_low"]):
            values = [float(row[name]) for name in ("rank", "rank_low", "rank_high")]
            found.setdefault(str(row["metric"]), {})[ids.models.index(row["model"])] = values
    return found


def distributions(
    rows: CaseRows, settings: list[Protocol], ids: Ids
) -> dict[str, dict[str, dict[str, Any]]]:
    """Per-case values of every model on every slot, by "policy|space|tolerance|view".

    Up to 40 cases are given one by one (per mille, sorted), more as counts in 25 bins; always
    with the quartiles and n. Without linked scans there is the view `paper` alone.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for setting in settings:
        name = f"{setting.policy}|{setting.space}|{setting.tolerance_mm:g}|{setting.view}"
        if name in found or (setting.view == "clean" and not rows.leaked):
            continue
        frame = rows.frame(setting)
        found[name] = {}
        for key, part in _by_slot(frame, ids):
            for metric in METRIC_NAMES:
                values = frame[metric].to_numpy()[part]
                values = values[np.isfinite(values)]
                if len(values):
                    found[name].setdefault(key, {})[metric] = _spread(values)
    return found


def case_ends(rows: CaseRows, setting: Protocol, ids: Ids) -> dict[str, list[list[Any]]]:
    """Worst, median and best case (id, DSC in per mille) of every model on every slot."""
    frame = rows.frame(setting)
    cases = frame["case"].astype(str).to_numpy(dtype=str)
    scores = frame["dsc"].to_numpy()
    found = {}
    for key, part in _by_slot(frame, ids):
        ends = extremes(cases[part], scores[part])
        if ends is not None:
            found[key] = [[case, round(1000 * dsc)] for _, case, dsc in ends.items]
    return found


def _by_slot(frame: pd.DataFrame, ids: Ids) -> list[tuple[str, NDArray[np.int64]]]:
    """("model|slot", row numbers), in the order of the payload."""
    if frame.empty:
        return []
    names = {name: place for place, (_, name) in enumerate(ids.classes)}
    by_name: dict[tuple[int, str], int] = {
        (d, ids.classes[c][1]): s for s, (d, c) in enumerate(ids.slots)
    }
    number = {d: i for i, d in enumerate(ids.datasets)}
    models = {m: i for i, m in enumerate(ids.models)}
    groups: dict[Any, Any] = frame.groupby(["model", "dataset", "class"], observed=True).indices
    found = []
    for (model, dataset, name), positions in groups.items():
        slot = by_name.get((number.get(str(dataset), -1), str(name)))
        if slot is not None and str(model) in models and str(name) in names:
            found.append((models[str(model)], slot, np.asarray(positions, dtype=np.int64)))
    return [(f"{m}|{s}", part) for m, s, part in sorted(found, key=lambda f: f[:2])]


def _spread(values: NDArray[np.float64]) -> dict[str, Any]:
    mille = np.sort(np.round(1000 * values)).astype(int)
    quartiles = np.round(np.quantile(mille, [0.25, 0.5, 0.75])).astype(int).tolist()
    result: dict[str, Any] = {"n": len(mille), "q": quartiles}
    if len(mille) <= EXACT_VALUES:
        return {"v": mille.tolist()} | result
    counts = np.bincount(np.minimum(mille * BINS // 1000, BINS - 1), minlength=BINS)
    return {"h": counts.tolist()} | result


def _scaled(column: pd.Series[float]) -> list[int | None]:
    """Whole numbers of 1e-4; None where there is no value."""
    return [None if np.isnan(v) else round(v * 10_000) for v in column.to_numpy(dtype=float)]
