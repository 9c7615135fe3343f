"""Every case of an entry: a row for each, a block for each model, a column a measure and class."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from evaluation.protocol import Protocol
from reports.layout.report_table import ReportCell, ReportColumn, ReportTable, Value
from reports.source.cases import CaseRows
from reports.source.run import RunSource
from reports.source.words import caption, units_of

MISSING = "prediction_missing"


def case_tables(source: RunSource, protocol: Protocol, rows: CaseRows) -> Iterator[ReportTable]:
    """A table for each entry that has scores; controls are left out as in every paper's table."""
    frames = {m.key: rows.frame(protocol, m) for m in source.measures}
    for dataset in source.dataset_cards:
        parts = {key: frame[frame["dataset"] == dataset] for key, frame in frames.items()}
        if any(part["value"].notna().any() for part in parts.values()):
            yield _table(source, protocol, dataset, parts)


def _table(
    source: RunSource, protocol: Protocol, dataset: str, frames: dict[str, pd.DataFrame]
) -> ReportTable:
    columns = [ReportColumn("case", "Case")]
    wide = {}
    for measure in source.measures:
        frame = frames[measure.key].astype({"model": str, "case": str, "class": str, "status": str})
        wide[measure.key] = frame.set_index(["model", "case", "class"])[["value", "status"]]
    found = set(wide[source.lead.key].index.get_level_values("class"))
    classes = [c.name for c in source.dataset_cards[dataset].classes if c.name in found]
    single = {
        key: set(frame["value"].dropna().index.get_level_values("class"))
        for key, frame in wide.items()
    }
    # Single structures are counted of few classes.
    shown = [
        (measure, name)
        for measure in source.measures
        for name in classes
        if not measure.metric.needs_instances or name in single[measure.key]
    ]
    columns += [
        ReportColumn(
            f"{measure.key}:{name}", name, group=measure.head, digits=measure.digits, right=True
        )
        for measure, name in shown
    ]
    lines: list[tuple[Value | ReportCell, ...]] = []
    blocks: dict[int, str] = {}
    held = {key: frame.to_dict("index") for key, frame in wide.items()}
    cases = wide[source.lead.key].index
    for model in source.shown:
        of_model = sorted({case for name, case, _ in cases if name == model})
        if of_model:
            blocks[len(lines)] = source.model_title(model)
        for case in of_model:
            line: list[Value | ReportCell] = [case]
            for measure, name in shown:
                row = held[measure.key].get((model, case, name), {})
                value = measure.printed(row.get("value"))
                gone = row.get("status") == MISSING
                line.append(ReportCell(value, "no prediction") if gone else value)
            lines.append(tuple(line))
    return ReportTable(
        name=f"cases_{dataset}{source.suffix(protocol)}",
        title=f"Every case of {source.dataset_title(dataset)}",
        caption=caption(
            source,
            protocol,
            f"A row for each scan, {units_of(dict(shown))}; a dash: not scored, or undefined.",
            ranked=False,
        ),
        columns=tuple(columns),
        rows=tuple(lines),
        blocks=blocks,
    )
