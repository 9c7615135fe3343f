"""One row per model: overall means with intervals, completeness, ranks."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from evaluation.protocol import Protocol
from reports.layout.report_table import ReportCell, ReportColumn, ReportTable, Value
from reports.source.measures import Measure
from reports.source.run import RunSource, rows_by
from reports.source.trainings import Seeds, deviation, seeds_of
from reports.source.words import (
    METHODS,
    NOT_AVAILABLE,
    STATISTICS,
    caption,
    left_out_of_regions,
    listed,
)
from reports.tables.scores import marked, mean_cell


def overall_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """One row per model and statistic: every measure's mean with its interval, completeness."""
    frame = source.pick("overall", protocol)
    if frame is None:
        return None
    lead = source.lead
    ranks = source.overall_ranks(protocol)
    rows: list[tuple[Value | ReportCell, ...]] = []
    unranked: set[int] = set()
    blocks: dict[int, str] = {}
    for statistic in ("entries", "classes", "regions"):
        block = frame[frame["statistic"] == statistic]
        by_model = rows_by(block, "model")
        if len(block):
            blocks[len(rows)] = STATISTICS[statistic].capitalize()
        for model in source.models:
            found = block[block["model"] == model].set_index("measure").to_dict("index")
            if not found:
                continue
            control = source.is_control(model)
            rank = "" if statistic != "entries" else "–" if control else _rank(ranks, model, lead)
            row = found.get(lead.key) or next(iter(found.values()))
            # A mean over fewer classes or scans is not comparable, so it is never the best.
            if control or not row["complete"]:
                unranked.add(len(rows))
            values: list[Value | ReportCell] = []
            for measure in source.measures:
                at = found.get(measure.key)
                if at is None:
                    values += None, "–"
                else:
                    cell = mean_cell(source, by_model, measure, model)
                    values += cell, _interval(at, measure)
            rows.append((source.model_title(model), rank, *values, *_sizes(row)))
        for group in seeds_of(source):
            if (averaged := _over_seeds(source, group, block)) is not None:
                unranked.add(len(rows))
                rows.append(averaged)
    lacking = left_out_of_regions(source) if (frame["statistic"] == "regions").any() else ""
    return ReportTable(
        name=f"overall{source.suffix(protocol)}",
        title="Overall results",
        caption=caption(
            source,
            protocol,
            "Means with 95 % intervals over patients. A model that leaves out a class or lacks a "
            f"prediction (which {missing_counts(source)}) is not ranked."
            + (" After ±: standard deviation over trainings." if seeds_of(source) else ""),
        ),
        columns=(
            ReportColumn("model", "Model"),
            ReportColumn("rank", f"Rank ({lead.title})", right=True),
            *(column for m in source.measures for column in _columns(m)),
            ReportColumn("entries", "Entries", right=True),
            ReportColumn("classes", "Classes", right=True),
            ReportColumn("cases", "Scans", right=True),
            ReportColumn("n_patients", "Patients", right=True),
            ReportColumn("n_missing", "Missing", right=True),
        ),
        rows=tuple(rows),
        blocks=blocks,
        notes=(lacking,) if lacking else (),
        downwards=True,
        unranked=frozenset(unranked),
    )


def ranks_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Ranks of the complete entrants by every measure with a direction, in each way of ranking."""
    frame = source.overall_ranks(protocol)
    if frame is None:
        return None
    # To be alone is no rank.
    frame = frame[frame["complete"] & (frame["n_models"] > 1)]
    if frame["model"].nunique() < 2:
        return None
    rows: list[tuple[Value, ...]] = []
    blocks: dict[int, str] = {}
    for method, words in METHODS.items():
        blocks[len(rows)] = words.capitalize()
        part = frame[frame["method"] == method]
        rows += [
            (source.model_title(model), *(_rank(part, model, m, method) for m in source.ranked))
            for model in source.entrants
            if model in set(part["model"])
        ]
    lower = [m.words for m in source.ranked if m.better == "lower"]
    return ReportTable(
        name=f"ranks{source.suffix(protocol)}",
        title="Ranks",
        caption=caption(
            source,
            protocol,
            "Ranks of models that answered every class of every scan, with 95 % intervals over "
            "bootstraps of patients"
            + (f"; the lowest {listed(lower)} is first." if lower else "."),
            ranked=False,
        ),
        columns=(
            ReportColumn("model", "Model"),
            *(ReportColumn(f"rank:{m.key}", m.title, right=True) for m in source.ranked),
        ),
        rows=tuple(rows),
        blocks=blocks,
    )


def _sizes(row: Mapping[Hashable, Any]) -> tuple[Value, ...]:
    """Entries, classes, scans, patients and missing predictions behind a mean."""
    return (
        f"{row['n_entries']} of {row['n_entries_expected']}",
        f"{row['n_classes']} of {row['n_classes_expected']}",
        f"{row['n_cases']} of {row['n_cases_expected']}",
        int(row["n_patients"]),
        int(row["n_missing"]),
    )


def _over_seeds(source: RunSource, group: Seeds, block: pd.DataFrame) -> tuple[Value, ...] | None:
    """The mean over a model's trainings, with its standard deviation in place of an interval."""
    frame = block[block["model"].isin(group.models)]
    if frame["model"].nunique() < 2:
        return None
    values: list[Value] = []
    for measure in source.measures:
        found = frame.loc[frame["measure"] == measure.key, "value"].dropna()
        printed = [float(measure.scaled(value)) for value in found]
        values += (
            (None, "–") if len(printed) < 2 else (statistics.fmean(printed), deviation(printed))
        )
    title = f"{group.title}, mean of {frame['model'].nunique()} trainings"
    sizes = frame.sort_values("n_cases").iloc[0].to_dict()
    return title, "–", *values, *_sizes(sizes)


def _columns(measure: Measure) -> list[ReportColumn]:
    ranked = measure.key if measure.better else ""
    lower = measure.better == "lower"
    return [
        ReportColumn(measure.key, measure.head, digits=2, ranked=ranked, lower=lower, right=True),
        ReportColumn(f"{measure.key}_interval", "95 % interval", right=True, beside=True),
    ]


def missing_counts(source: RunSource) -> str:
    """What a missing prediction counts, by the records of the metrics: `counts 0`."""
    counted: dict[str, list[str]] = {}
    for m in {m.metric.id: m for m in source.measures}.values():
        worth = m.printed(m.metric.missing)
        counts = "nothing" if worth is None else f"{worth:g}"
        if m.metric.missing is None:
            counts = "what an empty one does"
        counted.setdefault(counts, []).append(m.metric.title)
    if len(counted) == 1:
        return f"counts {next(iter(counted))}"
    return f"counts {listed(f'{n} in {listed(names)}' for n, names in counted.items())}"


def _interval(row: Mapping[Hashable, Any], measure: Measure) -> str:
    """A mean's interval; resampling one or two patients gives one that means nothing."""
    low, high = measure.printed(row["value_low"]), measure.printed(row["value_high"])
    if row["n_patients"] < 3 or low is None or high is None:
        return str(row["note"]) or "–"
    return marked(measure.between(low, high), row["note"])


def _rank(
    ranks: pd.DataFrame | None, model: str, measure: Measure, method: str = "mean-then-rank"
) -> str:
    """A rank with its interval, if it has one."""
    if ranks is None or not measure.better:
        return NOT_AVAILABLE
    found = ranks[
        (ranks["measure"] == measure.key) & (ranks["method"] == method) & (ranks["model"] == model)
    ]
    if found.empty:
        return "–"
    row = found.iloc[0]
    if not row["complete"]:
        return "incomplete"
    text = f"{row['rank']:g}"
    if not pd.isna(row["rank_low"]):
        text += f" ({row['rank_low']:g}–{row['rank_high']:g})"
    return marked(text, row["note"])
