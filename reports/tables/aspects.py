"""Aspects: a row for each of them, and the tables of a document that have a row for each model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evaluation.protocol import Protocol
from evaluation.published import published
from evaluation.published.numbers import TABLES
from evaluation.studies.record import PrintedTable
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.published import published_head, published_lookup
from reports.source.run import RunSource, rows_by
from reports.source.words import caption, counts, short
from reports.tables.scores import (
    of_expected,
    of_whole_classes,
    score_columns,
    score_values,
    value_of,
)


def aspects_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Means over the classes of each aspect that the run has any of."""
    frame = source.pick("aspect", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "aspect")
    values = (
        rows_by(frame, "model", "aspect"),
        source.own_rows(protocol, "aspect", "model", "aspect"),
    )
    rows = []
    for name, aspect in source.aspects.items():
        group = frame[frame["aspect"] == name]
        if len(group):
            first = (
                aspect.title or name,
                f"{aspect.mean_over}",
                of_expected(group, "cases"),
                counts(group["n_patients"]),
                of_expected(group, "classes"),
            )
            shown = score_values(source, protocol, values, printed, (name,), (name, "any"))
            rows.append((*first, *shown))
    return ReportTable(
        name=f"aspects{source.suffix(protocol)}",
        title="Aspects",
        caption=caption(
            source,
            protocol,
            "Mean over scans, then over the classes of an aspect, each of each entry once, or over "
            "the means of its entries. Of an aspect, what this run has of it.",
            measures=of_whole_classes(source),
            published=bool(printed),
        ),
        columns=(
            ReportColumn("aspect", "Aspect"),
            ReportColumn("mean_over", "Mean over"),
            ReportColumn("n_cases", "Scans", right=True),
            ReportColumn("n_patients", "Patients", right=True),
            ReportColumn("classes", "Classes", right=True),
            *score_columns(source, protocol, printed),
        ),
        rows=tuple(rows),
        notes=tuple(
            f"{aspect.title or name}: classes of which {source.model_title(below.model)} has a "
            f"mean {below.metric.upper()} under {below.value:g}, chosen by its scores in this run."
            for name, aspect in source.aspects.items()
            if (below := aspect.below) is not None
        ),
    )


def printed_table(source: RunSource, protocol: Protocol, table: PrintedTable) -> ReportTable | None:
    """A table of the document as it is printed, a row for each model: theirs, then ours.

    A run of phantoms, or of a part, has its own rows alone: nothing published stands beside it.
    """
    every = published(source.study)
    every = every[(every["table"] == table.id) & (every["metric"] == "dsc")]
    # Where each printed row is a variant, as in an ablation, all of them are of one column.
    columns = every.sort_values("row").drop_duplicates(["scope", "key"])
    names = every.groupby(["scope", "key"])["printed_row"].unique()
    allowed = source.published[source.published["table"] == table.id]
    theirs = {
        (str(r["model"]), str(r["scope"]), str(r["key"])): float(r["value"])
        for _, r in allowed.iterrows()
    }
    measure = next((m for m in source.measures if m.metric.id == "dsc"), None)
    if columns.empty or measure is None:
        return None
    found = {
        scope: rows_by(frame, "model", TABLES[scope])
        for scope in columns["scope"].unique()
        if (frame := _by_key(source, protocol, str(scope))) is not None
    }
    titles = {m: known.title for m, known in source.study.models.items()}
    rows: list[tuple[Value, ...]] = []
    unranked = set()
    models = [*(m for m in titles if m in set(every["model"])), *source.models]
    for model in dict.fromkeys(models):
        printed = [theirs.get((model, r["scope"], r["key"])) for _, r in columns.iterrows()]
        if any(value is not None for value in printed):
            unranked.add(len(rows))
            values = [None if v is None else measure.printed(v) for v in printed]
            rows.append((titles[model], published_head(source, model), *values))
        ours = [
            value_of(found.get(str(r["scope"]), {}), measure, model, str(r["key"]))
            for _, r in columns.iterrows()
        ]
        if any(isinstance(value, float) for value in ours):
            if source.is_control(model):
                unranked.add(len(rows))
            name = source.model_title(model)
            rows.append((name, f"this run, {short(source, protocol)}", *ours))
    return ReportTable(
        name=f"printed_{table.id}",
        title=f"{table.head} of the document: {_about(table)}",
        caption=caption(
            source,
            protocol,
            "The document's table with its columns; of what this run has.",
            published=bool(theirs),
        ),
        columns=(
            ReportColumn("model", "Model"),
            ReportColumn("source", "From"),
            *(
                ReportColumn(str(key), _label(source, str(key), names[scope, key]), digits=2,
                             ranked="down", right=True)
                for scope, key in zip(columns["scope"], columns["key"], strict=True)
            ),
        ),
        rows=tuple(rows),
        notes=(table.note,) if table.note else (),
        downwards=True,
        unranked=frozenset(unranked),
    )  # fmt: skip


def _label(source: RunSource, key: str, printed: Sequence[str]) -> str:
    """The head of a column: as it is printed, unless the printed rows are its variants."""
    if len(printed) == 1:
        return str(printed[0])
    return (key in source.aspects and source.aspects[key].title) or key


def _by_key(source: RunSource, protocol: Protocol, scope: str) -> pd.DataFrame | None:
    """Rows of the result table that has a scope's numbers."""
    return source.pick(TABLES[scope], protocol)


def _about(table: PrintedTable) -> str:
    return {"dataset": "by dataset", "aspect": "by aspect"}.get(table.about, table.about)
