"""How many lesions each model detects, by how large they are."""

from __future__ import annotations

import math

from reports.layout.report_table import ReportCell, ReportColumn, ReportTable, Value
from reports.source.run import RunSource
from reports.source.words import modality_title

_KEYS = ["class", "modality", "kind", "matching", "model"]


def lesion_volumes_table(source: RunSource) -> ReportTable | None:
    """Recall of single lesions in bins of their volume; None where a run counts none."""
    frame = source.table("lesion_volumes")
    frame = None if frame is None else frame[frame["space"] == "native"]
    if frame is None or frame.empty:
        return None
    # Lesions of all entries together.
    summed = frame.groupby([*_KEYS, "from_ml", "below_ml"], observed=True, as_index=False)[
        ["n_lesions", "n_detected"]
    ].sum()
    bins = sorted(set(zip(summed["from_ml"].tolist(), summed["below_ml"].tolist(), strict=True)))
    rows: list[tuple[Value | ReportCell, ...]] = []
    blocks, unranked = {}, set()
    for (name, modality, kind), of_class in summed.groupby(
        ["class", "modality", "kind"], observed=True
    ):
        as_union = "" if kind == "annotated" else f", {kind}"
        blocks[len(rows)] = f"{name} ({modality_title(str(modality))}{as_union})"
        for model in source.shown:
            own = of_class[of_class["model"] == model]
            if own.empty:
                continue
            counts = {
                low: (n, hits)
                for low, n, hits in own[["from_ml", "n_lesions", "n_detected"]].itertuples(
                    index=False
                )
            }
            if source.is_control(model):
                unranked.add(len(rows))
            cells: list[Value | ReportCell] = []
            for low, _ in bins:
                n, hits = counts[low]
                cells.append(ReportCell(100 * hits / n, f"{hits} of {n}") if n else None)
            rows.append((source.model_title(model), *cells))
    return ReportTable(
        name="lesion_volumes",
        title="Recall by lesion volume",
        caption="Percent of the references' single lesions that are detected, by their volume in "
        f"ml: {'; '.join(sorted(set(frame['matching'])))}. Lesions of all test scans and entries "
        "together; native grid; a scan without an answer misses all of its own.",
        columns=(
            ReportColumn("model", "Model"),
            *(
                ReportColumn(
                    f"from_{low:g}", _words(low, high), digits=1, ranked="down", right=True
                )
                for low, high in bins
            ),
        ),
        rows=tuple(rows),
        blocks=blocks,
        downwards=True,
        unranked=frozenset(unranked),
    )


def _words(low: float, high: float) -> str:
    if not low:
        return f"below {high:g}"
    return f"from {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
