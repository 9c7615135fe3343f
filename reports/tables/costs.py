"""What networks need, beside what the study's document printed of it."""

from __future__ import annotations

from evaluation.published.costs import printed_costs
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.run import RunSource
from reports.source.words import kind, presets


def costs_table(source: RunSource) -> ReportTable | None:
    """Weights, memory and time of the run's models and of the document's networks."""
    printed = printed_costs(source.study)
    measured = source.table("cost")
    known = {} if measured is None else measured.set_index("model").to_dict("index")
    rows: list[tuple[Value, ...]] = []
    for model in [*printed, *(m for m in source.entrants if m not in printed)]:
        theirs, ours, weights = printed.get(model), known.get(model), source.parameters(model)
        if model not in source.models and theirs is None:
            continue
        title = (
            source.model_title(model)
            if model in source.models
            else source.study.models[model].title
        )
        rows.append(
            (
                title,
                None if theirs is None else float(theirs.parameters_m),
                None if weights is None else weights[0] / 1e6,
                None if weights is None else weights[1],
                None if theirs is None else float(theirs.memory_gb),
                None if ours is None else float(ours["peak_memory_mib"]) / 1024,
                None if theirs is None else float(theirs.seconds),
                None if ours is None else float(ours["predict_seconds_per_case"]),
                "" if ours is None else str(ours["device"]),
            )
        )
    notes = [table.note for table in source.study.tables_about("cost") if table.note]
    ours_words = "this run"
    return ReportTable(
        name="costs_beside_published",
        title=source.numbered("cost", "Cost beside published"),
        caption="Weights, memory and time. Printed numbers are of the published sizes on the "
        "document's own machine; they are facts about networks and stand beside any run. "
        f"{kind(source)}{presets(source)}".rstrip(),
        columns=(
            ReportColumn("model", "Model"),
            ReportColumn("parameters_printed", "Weights (M)", "published", digits=2, right=True),
            ReportColumn("parameters", "Weights (M)", ours_words, digits=2, right=True),
            ReportColumn("networks", "Networks", ours_words, right=True),
            ReportColumn("memory_printed", "Memory (GB)", "published", digits=2, right=True),
            ReportColumn("memory", "Memory (GiB)", ours_words, digits=2, right=True),
            ReportColumn("seconds_printed", "Forward pass (s)", "published", digits=2, right=True),
            ReportColumn("seconds", "Seconds a scan", ours_words, digits=2, right=True),
            ReportColumn("device", "Device", ours_words),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )
