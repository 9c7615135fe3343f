"""A column for each region or lesion, a block for each measure."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evaluation.classes.regions import LESION, UNASSIGNED
from evaluation.protocol import Protocol
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.published import published_lookup, published_value
from reports.source.run import RunSource, rows_by
from reports.source.words import (
    NOT_RUN,
    SHORT_REGION,
    caption,
    counts,
    left_out_of_regions,
    modality_title,
    region_title,
)
from reports.tables.scores import blocks_by_measure, value_of

_HEAD = (ReportColumn("model", "Model"), ReportColumn("protocol", "Protocol"))
LESION_SHORT = {
    "brain tumor": "BT",
    "colon cancer": "CC",
    "covid-19 infection": "C-19",
    "lung effusion": "PE",
    "kidney tumor": "KT",
    "laryngeal cancer or hypopharyngeal cancer": "L/HC",
    "liver tumor": "LT",
    "lung tumor": "LC",
    "pancreas tumor": "PT",
    "stroke": "Stroke",
}


def regions_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Region-wise means, a column for each region that the run asks for."""
    frame = source.region_means(protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "region")
    regions = [r for r in source.regions if r != UNASSIGNED]
    largest = frame.groupby("region")[["n_classes", "n_patients"]].max()
    size = {str(r.Index): f"{r.n_classes} / {r.n_patients}" for r in largest.itertuples()}
    rows = rows_by(frame, "model", "region")
    fields = blocks_by_measure(
        source,
        protocol,
        [size.get(region, NOT_RUN) for region in regions],
        "classes / patients",
        lambda measure, model: [value_of(rows, measure, model, k) for k in regions],
        lambda measure, model: [published_value(printed, measure, model, k) for k in regions],
    )
    notes = [f"{name}: {long}." for long, name in SHORT_REGION.items() if long in regions]
    return ReportTable(
        name=f"regions{source.suffix(protocol)}",
        title=source.numbered("region", "Region-wise results"),
        caption=caption(
            source,
            protocol,
            "Unweighted mean over (modality, class) of a region, classes assigned by anatomy.",
            published=bool(printed),
        ),
        columns=(
            *_HEAD,
            *(
                ReportColumn(
                    key, region_title(key, short=True), digits=2, ranked="down", right=True
                )
                for key in regions
            ),
        ),
        notes=(
            *notes,
            *(source.printed_notes("region") if printed else ()),
            *filter(None, [left_out_of_regions(source)]),
        ),
        **fields,
    )


def lesions_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Lesions, a column for each that the run asks for."""
    frame = source.pick("lesion", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "lesion")
    frame = frame[frame["modality"] != "any"].astype({"class": str, "modality": str})
    groups: dict[Any, pd.DataFrame] = dict(iter(frame.groupby(["class", "modality"])))
    asked = [(c, m) for m, c in source.asked_classes if source.region_of(m, c) == LESION]
    keys = [*groups, *(key for key in asked if key not in groups)]
    twice = {c for c, _ in keys if sum(c == other for other, _ in keys) > 1}
    sizes: list[Value] = [
        f"{counts(groups[k]['n_cases'])} / {counts(groups[k]['n_patients'])}"
        if k in groups
        else NOT_RUN
        for k in keys
    ]
    rows = rows_by(frame, "model", "class", "modality")
    fields = blocks_by_measure(
        source,
        protocol,
        sizes,
        "scans / patients",
        lambda measure, model: [value_of(rows, measure, model, *k) for k in keys],
        lambda measure, model: [published_value(printed, measure, model, *k) for k in keys],
    )
    shorts = [f"{s}: {c}" for c, s in LESION_SHORT.items() if any(c == k[0].lower() for k in keys)]
    return ReportTable(
        name=f"lesions{source.suffix(protocol)}",
        title=source.numbered("lesion", "Lesions"),
        caption=caption(
            source, protocol, "Mean over scans, then over the entries.", published=bool(printed)
        ),
        columns=(
            *_HEAD,
            *(
                ReportColumn(f"{c} ({m})", _lesion_label(c, m, twice), digits=2, ranked="down",
                             right=True)
                for c, m in keys
            ),
        ),
        notes=(("; ".join(shorts) + ".",) if shorts else ()),
        **fields,
    )  # fmt: skip


def _lesion_label(class_name: str, modality: str, twice: set[str]) -> str:
    label = LESION_SHORT.get(class_name.lower(), class_name)
    return f"{label} ({modality_title(modality)})" if class_name in twice else label
