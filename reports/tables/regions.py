"""The paper's Tables 2 and 6: a column for each region or lesion, a block for each metric."""

from __future__ import annotations

from typing import Any

from evaluation.classes.regions import LESION, UNASSIGNED
from reports.source import Protocol, RunSource
from reports.tables.parts import (
    SHORT_REGION,
    blocks_by_metric,
    caption,
    counts,
    of_any_modality,
    percent,
    published_lookup,
    region_title,
)
from reports.tables.tabular import NOT_RUN, Column, Table, Value

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


def regions_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Region-wise means (Table 2 of the paper), a column for each region that the run asks for."""
    frame = source.pick("region", protocol)
    if frame is None:
        return None
    frame = frame[(frame["scheme"] == "anatomical") & (frame["composition"] == "all")]
    printed = published_lookup(source, "region")
    regions = [r for r in source.regions if r != UNASSIGNED]
    size = {
        region: frame[frame["region"] == region][["n_classes", "n_patients"]].max()
        for region in frame["region"].unique()
    }
    columns = [Column("model", "Model"), Column("protocol", "Protocol")]
    columns += [
        Column(key, region_title(key, short=True), digits=2, ranked="down", right=True)
        for key in regions
    ]
    texts = [
        f"{int(size[k]['n_classes'])} / {int(size[k]['n_patients'])}" if k in size else NOT_RUN
        for k in regions
    ]
    by_key: Any = frame.set_index(["model", "region"])

    def ours(model: str, metric: str) -> list[Value]:
        return [
            percent(by_key.loc[(model, k)][metric]) if (model, k) in by_key.index else NOT_RUN
            for k in regions
        ]

    rows, blocks, unranked = blocks_by_metric(
        source,
        protocol,
        texts,
        "classes / patients",
        ours,
        lambda model, metric: [of_any_modality(printed, k, model, metric) for k in regions],
    )
    notes = [f"{short}: {long}." for long, short in SHORT_REGION.items() if long in regions]
    if printed:
        notes.append(
            "The paper does not say which classes form its region means: another composition."
        )
    return Table(
        name=f"table2_regions{source.suffix(protocol)}",
        title=source.numbered(2, "Region-wise results"),
        caption=caption(
            source,
            protocol,
            "Unweighted mean over (modality, class) of a region, classes assigned by anatomy.",
            published=bool(printed),
        ),
        columns=tuple(columns),
        rows=rows,
        blocks=blocks,
        notes=(*notes, *filter(None, [source.left_out_of_regions])),
        downwards=True,
        unranked=unranked,
    )


def lesions_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Lesions (Table 6 of the paper), a column for each lesion that the run asks for."""
    frame = source.pick("lesion", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "lesion")
    pairs = frame.loc[frame["modality"] != "any", ["class", "modality"]].astype(str)
    measured = sorted(set(pairs.itertuples(index=False, name=None)))
    asked = [(c, m) for m, c in source.asked_classes if source.region_of(m, c) == LESION]
    keys = [*measured, *(key for key in asked if key not in measured)]
    twice = {c for c, _ in keys if sum(c == other for other, _ in keys) > 1}
    columns = [Column("model", "Model"), Column("protocol", "Protocol")]
    columns += [
        Column(f"{c} ({m})", _lesion_label(c, m, twice), digits=2, ranked="down", right=True)
        for c, m in keys
    ]
    by_key: Any = frame.set_index(["model", "class", "modality"])
    sizes: list[Value] = []
    for class_name, modality in keys:
        part = frame[(frame["class"] == class_name) & (frame["modality"] == modality)]
        sizes.append(
            f"{counts(part['n_cases'])} / {counts(part['n_patients'])}" if len(part) else NOT_RUN
        )

    def ours(model: str, metric: str) -> list[Value]:
        return [
            percent(by_key.loc[(model, *k)][metric]) if (model, *k) in by_key.index else NOT_RUN
            for k in keys
        ]

    rows, blocks, unranked = blocks_by_metric(
        source,
        protocol,
        sizes,
        "scans / patients",
        ours,
        lambda model, metric: [of_any_modality(printed, c, model, metric, m) for c, m in keys],
    )
    shorts = [f"{s}: {c}" for c, s in LESION_SHORT.items() if any(c == k[0].lower() for k in keys)]
    return Table(
        name=f"table6_lesions{source.suffix(protocol)}",
        title=source.numbered(6, "Lesions"),
        caption=caption(
            source, protocol, "Mean over scans, then over the entries.", published=bool(printed)
        ),
        columns=tuple(columns),
        rows=rows,
        blocks=blocks,
        notes=(("; ".join(shorts) + ".",) if shorts else ()),
        downwards=True,
        unranked=unranked,
    )


def _lesion_label(class_name: str, modality: str, twice: set[str]) -> str:
    label = LESION_SHORT.get(class_name.lower(), class_name)
    return f"{label} ({modality})" if class_name in twice else label
