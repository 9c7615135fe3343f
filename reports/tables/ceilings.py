"""How far people agree, and the models of the run beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.layout.report_table import ReportCell, ReportColumn, ReportTable, Value
from reports.source.ceilings import ceilings_of
from reports.source.measures import Measure
from reports.source.run import RunSource
from reports.source.words import units_of

RATERS = "Raters"
CAPTION = (
    "Raters: every two people who drew the same scan, scored against each other by the engine that "
    "scores models, mean over pairs, scans and classes; models: against the reference. A reference "
    "that is the consensus of these raters is nearer to a model than any one of them, so a model "
    "may stand above the raters' row without being better than people. In brackets 95 % intervals "
    "over patients; native grid. Apart: distance that 95 % of the raters' surfaces keep to each "
    "other, a tolerance for NSD (Nikolov et al. 2021)."
)


def ceilings_table(source: RunSource) -> ReportTable | None:
    """For each class of entries with several raters the raters' row, then the models'."""
    found = ceilings_of(source)
    if found is None:
        return None
    rows: list[tuple[Value | ReportCell, ...]] = []
    blocks, unranked = {}, set()
    for entry, name in found.places:
        blocks[len(rows)] = found.title(source, entry, name)
        unranked.add(len(rows))
        own = [found.raters.get((m.key, entry, name)) for m in source.measures]
        known = next(row for row in own if row is not None)
        cells = [_cell(m, row) for m, row in zip(source.measures, own, strict=True)]
        sizes = f"{known['n_cases']} / {known['n_patients']}"
        rows.append((f"{RATERS} ({known['n_raters']})", *cells, float(known["apart_mm"]), sizes))
        for model in source.shown:
            own = [found.models.get((m.key, model, entry, name)) for m in source.measures]
            first = next((row for row in own if row is not None), None)
            if first is None:
                continue
            cells = [_cell(m, row) for m, row in zip(source.measures, own, strict=True)]
            sizes = f"{first['n_cases']} / {first['n_patients']}"
            if source.is_control(model):
                unranked.add(len(rows))
            rows.append((source.model_title(model), *cells, None, sizes))
    return ReportTable(
        name="ceilings",
        title="Raters and models",
        caption=f"{CAPTION} Values {units_of(source.measures) or 'as measured'}.",
        columns=(
            ReportColumn("who", "Who"),
            *(
                ReportColumn(
                    m.key, m.head, digits=m.digits + 1 if m.metric.percent else m.digits,
                    ranked=m.key if m.better else "", lower=m.better == "lower", right=True,
                )
                for m in source.measures
            ),
            ReportColumn("apart_mm", "Apart (mm)", digits=2, right=True),
            ReportColumn("n", "Scans / patients", right=True),
        ),
        rows=tuple(rows),
        blocks=blocks,
        downwards=True,
        unranked=frozenset(unranked),
    )  # fmt: skip


def _cell(measure: Measure, row: Mapping[str, Any] | None) -> Value | ReportCell:
    if row is None:
        return None
    low, high = measure.printed(row["value_low"]), measure.printed(row["value_high"])
    note = "" if low is None or high is None else measure.between(low, high)
    return ReportCell(measure.printed(row["value"]), note)
