"""The leaderboard's numbers: result tables and single cases, in the board's ids.

Every table is tidy: a row for each setting, measure and model, values in printed units. It goes
into the page as columns (`columns_of`), compressed; the page looks rows up and averages filtered
choices.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.protocol import HEADLINE, Protocol
from reports.source.cases import CaseRows, extremes
from reports.source.measures import Measure
from reports.source.run import RunSource

SWITCHES = ("policy", "space", "view", "coverage")
EXACT_VALUES = 40
BINS = 25
_SIZES = {"n_cases": "scans", "n_patients": "patients", "n_missing": "missing"}
_LEVELS = {"overall": "statistic", "region": "region", "dataset": "dataset", "class": "class",
           "aspect": "aspect"}  # fmt: skip


@dataclass(frozen=True)
class BoardIds:
    """Numbers that stand for names on the board.

    `classes` are (modality, name); `slots` (dataset, class) by number; `keys` (level, id) of the
    means that tables hold.
    """

    models: dict[str, int]
    datasets: dict[str, int]
    classes: dict[tuple[str, str], int]
    slots: dict[tuple[int, int], int]
    keys: dict[tuple[str, str], int]

    @classmethod
    def of(cls, source: RunSource) -> BoardIds:
        """Number everything that a run's tables name."""
        frame = source.table("dataset_class")
        triples: list[tuple[str, str, str]] = []
        if frame is not None:
            unique = frame.loc[frame["preferred"], ["dataset", "modality", "class"]]
            unique = unique.drop_duplicates().astype(str)
            triples = list(unique.itertuples(index=False, name=None))
        own = list(source.dataset_cards)
        datasets = _numbered([*own, *sorted({d for d, _, _ in triples} - set(own))])
        classes = _numbered(sorted({(m, c) for _, m, c in triples}, key=lambda k: (k[1], k[0])))
        slots = _numbered(sorted({(datasets[d], classes[m, c]) for d, m, c in triples}))
        keys: list[tuple[str, str]] = []
        for level in _LEVELS:
            rows = source.table(level)
            if rows is not None:
                keys += [(level, name) for name in _names(rows, level).drop_duplicates()]
        pooled = (("overall", "scans"), ("overall", "patients"))
        keys = [k for k in keys if k not in pooled]
        return cls(_numbered(source.models), datasets, classes, slots, _numbered(keys))


def _numbered(names: Sequence[Any]) -> dict[Any, int]:
    return {name: number for number, name in enumerate(names)}


def _names(frame: pd.DataFrame, level: str) -> pd.Series[str]:
    """The board's id of each row of a table."""
    names = frame[_LEVELS[level]].astype(str)
    return frame["modality"].astype(str) + "|" + names if level == "class" else names


def settings_of(source: RunSource) -> list[Protocol]:
    """Every combination of switches that was aggregated, the headline first."""
    overall = source.table("overall")
    if overall is None:
        return []
    found = overall.loc[overall["aggregation"] == "macro", list(SWITCHES)].drop_duplicates()
    first = source.protocols[0]
    settings = [
        replace(HEADLINE, **dict(zip(SWITCHES, row, strict=True)))
        for row in found.itertuples(index=False, name=None)
    ]

    def order(setting: Protocol) -> tuple[Any, ...]:
        usual = [
            (getattr(setting, name) != getattr(HEADLINE, name), getattr(setting, name))
            for name in ("space", *SWITCHES)
        ]
        return (setting != first, *usual)

    return sorted(settings, key=order)


def means(source: RunSource, setting: Protocol, ids: BoardIds) -> pd.DataFrame:
    """Means over all slots of a key (overall, region, dataset, class), as the tables hold them."""
    parts = []
    for level in _LEVELS:
        frame = source.region_means(setting) if level == "region" else source.pick(level, setting)
        if frame is None:
            continue
        names = _names(frame, level)
        # Entries that nobody ran do not make a model incomplete; classes that others have do, and
        # distances that are undefined of it alone.
        most = frame.groupby([frame["measure"], names])["n_scores"].transform("max")
        complete = frame["n_scores"] == most
        if "complete" in frame.columns:
            complete &= frame["complete"]
        key = [ids.keys.get((level, name), -1) for name in names]
        sizes = frame[["n_classes", "n_classes_expected"]].set_axis(["classes", "expected"], axis=1)
        board = _board(source, frame, ids, names).join(sizes)
        parts.append(board.assign(key=key, complete=complete))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"key": []})
    return frame[frame["key"] >= 0]


def slots(source: RunSource, setting: Protocol, ids: BoardIds) -> pd.DataFrame:
    """Means of every (entry, class)."""
    frame = source.pick("dataset_class", setting)
    if frame is None:
        return pd.DataFrame()
    frame = frame[frame["preferred"]]
    names = frame[["dataset", "modality", "class"]].astype(str).itertuples(index=False, name=None)
    slot = [ids.slots[ids.datasets[d], ids.classes[m, c]] for d, m, c in names]
    return _board(source, frame, ids, pd.Series(slot, frame.index)).assign(slot=slot)


def ranks(source: RunSource, setting: Protocol, ids: BoardIds) -> pd.DataFrame:
    """Overall ranks with their intervals."""
    frame = source.overall_ranks(setting)
    if frame is None:
        return pd.DataFrame()
    kept = (frame["method"] == "mean-then-rank") & np.isfinite(frame["rank_low"])
    frame = frame[kept & frame["model"].isin(ids.models)]
    named = frame[["measure", "rank", "rank_low", "rank_high"]]
    named = named.set_axis(["measure", "rank", "low", "high"], axis=1)
    found: pd.DataFrame = named.assign(model=frame["model"].map(ids.models))
    return found


def _board(
    source: RunSource, frame: pd.DataFrame, ids: BoardIds, names: pd.Series[Any]
) -> pd.DataFrame:
    """Measure, model, value, interval and sizes of rows of a table, in printed units.

    `names` say what each row is of. `undefined` are scores that a mean lacks though they were
    measured, such as distances of missed structures: nobody is ranked by such a mean.
    """
    scale = frame["measure"].map({m.key: m.scaled(1.0) for m in source.measures})
    values = {
        short: _significant(frame[name].to_numpy() * scale.to_numpy())
        for short, name in (("value", "value"), ("low", "value_low"), ("high", "value_high"))
    }
    sizes = frame[list(_SIZES)].rename(columns=_SIZES)
    model = frame["model"].astype(str).map(ids.models)
    single = {m.key: m.metric.needs_instances for m in source.measures}
    kind = frame["measure"].map(single)
    # What a model has of another measure, or others of the same number of classes, is measured.
    classes = frame["n_classes"] if "n_classes" in frame else pd.Series(1, frame.index)
    own, others = (
        frame.groupby([alike, names, kind])["n_scores"].transform("max")
        for alike in (model, classes)
    )
    lacking = own.where(own > others, others) - frame["n_scores"]
    undefined = lacking.where(frame["measure"].isin([m.key for m in source.ranked]), 0)
    return sizes.assign(measure=frame["measure"], model=model, undefined=undefined, **values)


def case_values(
    source: RunSource, rows: CaseRows, settings: Sequence[Protocol], ids: BoardIds
) -> Iterator[dict[str, Any]]:
    """Values of single cases of every model on every slot, in each policy, space and view.

    Up to 40 cases are given one by one (`values`, sorted), more as `counts` in 25 equal bins from
    `from` to `to`; always with `n` and the `quartiles`. Without linked scans there is the view
    `paper` alone.
    """
    seen = set()
    for number, setting in enumerate(settings):
        switches = (setting.policy, setting.space, setting.view)
        if switches in seen or (setting.view == "clean" and not rows.leaked):
            continue
        seen.add(switches)
        for measure in source.measures:
            frame = rows.frame(setting, measure)
            values = measure.scaled(frame["value"].to_numpy(dtype=float))
            for (model, slot), part in _by_slot(frame, ids):
                found = values[part]
                found = found[np.isfinite(found)]
                if len(found):
                    at = {"setting": number, "measure": measure.key, "model": model, "slot": slot}
                    yield at | _spread(found, measure)


def case_ends(
    source: RunSource, rows: CaseRows, setting: Protocol, ids: BoardIds
) -> Iterator[dict[str, Any]]:
    """Worst, median and best case of every model on every slot, by the leading measure."""
    lead = source.lead
    frame = rows.frame(setting, lead)
    cases = frame["case"].astype(str).to_numpy(dtype=str)
    values = frame["value"].to_numpy(dtype=float)
    for (model, slot), part in _by_slot(frame, ids):
        for which, case, value in extremes(cases[part], values[part], lead):
            yield {"model": model, "slot": slot, "which": which, "case": case,
                   "value": float(_significant(lead.scaled(np.array([value])))[0])}  # fmt: skip


def _by_slot(frame: pd.DataFrame, ids: BoardIds) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
    """((model, slot), row numbers), in the board's order."""
    if frame.empty:
        return []
    names = list(ids.classes)
    by_name = {(d, names[c][1]): slot for (d, c), slot in ids.slots.items()}
    groups: dict[Any, Any] = frame.groupby(["model", "dataset", "class"], observed=True).indices
    found = []
    for (model, dataset, name), positions in groups.items():
        slot = by_name.get((ids.datasets.get(str(dataset), -1), str(name)))
        if slot is not None and str(model) in ids.models:
            found.append(((ids.models[str(model)], slot), np.asarray(positions, dtype=np.int64)))
    return sorted(found, key=lambda item: item[0])


def _spread(values: NDArray[np.float64], measure: Measure) -> dict[str, Any]:
    """A distribution: exact if it is small."""
    values = _significant(np.sort(values))
    quartiles = _significant(np.quantile(values, [0.25, 0.5, 0.75])).tolist()
    result: dict[str, Any] = {"n": len(values), "quartiles": quartiles}
    if len(values) <= EXACT_VALUES:
        return {**result, "values": values.tolist()}
    # The whole range of a bounded measure, so that the bins of all models are the same.
    limits = [
        limit if np.isfinite(limit) else end
        for limit, end in zip(measure.limits, (values[0], values[-1]), strict=True)
    ]
    low, high = (limits[0], limits[1]) if limits[1] > limits[0] else (limits[0], limits[0] + 1)
    counts, _ = np.histogram(values, BINS, (low, high))
    return {**result, "counts": counts.tolist(), "from": float(low), "to": float(high)}


def _significant(values: NDArray[np.float64], digits: int = 4) -> NDArray[np.float64]:
    """Values rounded to so many significant digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (digits - 1 - np.where(np.isfinite(size), size, 0))
    rounded: NDArray[np.float64] = np.round(values * scale) / scale
    return rounded


def by_setting(frames: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, list[int]]:
    """All settings' rows in one frame, and for each setting where its rows are.

    Settings with the same numbers share them: without linked scans, for instance, the view
    `clean` is the view `paper` again.
    """
    first: dict[Hashable, int] = {}
    held = []
    for number, frame in enumerate(frames):
        held.append(first.setdefault(frame.to_csv(index=False), number))
    kept = [frame.assign(setting=at) for at, frame in enumerate(frames) if held[at] == at]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(), held


def columns_of(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns as JSON has them: null where there is no value."""
    return {
        str(name): [None if value != value else value for value in values.tolist()]
        for name, values in frame.items()
    }
