"""Table 6, and Tables 2 to 6 together under every protocol of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reports.source import Protocol, RunSource
from reports.tables import (
    METRICS,
    PUBLISHED_GROUP,
    PUBLISHED_MODELS,
    caption,
    classes_table,
    counts,
    datasets_table,
    of_any_modality,
    percent,
    protocol_suffix,
    published_lookup,
    regions_table,
)
from reports.tabular import NOT_AVAILABLE, NOT_RUN, Cell, Column, Table, Value

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


def lesions_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Table 6: lesions; a block per metric, a row per model, a column per lesion."""
    frame = source.pick("lesion", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "lesion")
    ours = sorted({(str(c), str(m)) for c, m in zip(frame["class"], frame["modality"], strict=True)
                   if m != "any"})  # fmt: skip
    published_keys = list(dict.fromkeys((k[0], k[1]) for k in printed))
    keys = [*ours, *(k for k in published_keys if not _has(ours, k))]
    twice = {c for c, _ in keys if sum(c == other for other, _ in keys) > 1}
    columns = [Column("model", "Model"), Column("protocol", "Protocol")]
    columns += [
        Column(f"{c} ({m})", _lesion_label(c, m, twice), digits=2, ranked="down", right=True)
        for c, m in keys
    ]
    by_key: Any = frame.set_index(["model", "class", "modality"])
    sizes: list[Value | Cell] = []
    for class_name, modality in keys:
        part = frame[(frame["class"] == class_name) & (frame["modality"] == modality)]
        sizes.append(
            f"{counts(part['n_cases'])} / {counts(part['n_patients'])}" if len(part) else NOT_RUN
        )
    rows: list[tuple[Value | Cell, ...]] = [("scans / patients", "", *sizes)]
    blocks, unranked = {0: "Size"}, {0}
    for metric, name in METRICS.items():
        blocks[len(rows)] = name
        for model in source.shown:
            values = [
                percent(by_key.loc[(model, *k)][metric]) if (model, *k) in by_key.index else NOT_RUN
                for k in keys
            ]
            if source.is_control(model):
                unranked.add(len(rows))
            rows.append((source.model_title(model), protocol.short, *values))
        for model, title in PUBLISHED_MODELS.items():
            found = [of_any_modality(printed, c, model, metric, m) for c, m in keys]
            if any(v is not None for v in found):
                unranked.add(len(rows))
                rows.append((f"{title} (published)", PUBLISHED_GROUP, *found))
    shorts = [f"{s}: {c}" for c, s in LESION_SHORT.items() if any(c == k[0].lower() for k in keys)]
    return Table(
        name=f"table6_lesions{protocol_suffix(source, protocol)}",
        title="Table 6: lesions",
        caption=caption(source, protocol, "Mean over scans, then over the entries."),
        columns=tuple(columns),
        rows=tuple(rows),
        blocks=blocks,
        notes=(("; ".join(shorts) + ".",) if shorts else ()),
        downwards=True,
        unranked=frozenset(unranked),
    )


def paper_tables(source: RunSource) -> tuple[list[Table], dict[str, str]]:
    """Tables 2 to 6 under every protocol of the run, and what could not be made."""
    makers: Sequence[tuple[str, Callable[[RunSource, Protocol], Table | None]]] = (
        ("Table 2", regions_table),
        ("Table 3", lambda s, p: classes_table(s, p, 3)),
        ("Table 4", lambda s, p: classes_table(s, p, 4)),
        ("Table 5", datasets_table),
        ("Table 6", lesions_table),
    )
    made, missing = [], {}
    for protocol in source.protocols:
        for name, maker in makers:
            table = maker(source, protocol)
            if table is None or not table.rows:
                missing[f"{name} ({protocol.short})"] = NOT_AVAILABLE
            else:
                made.append(table)
    return made, missing


def _has(ours: Sequence[tuple[str, str]], key: tuple[str, str]) -> bool:
    return any(key[0] == c and key[1] in (m, "any") for c, m in ours)


def _lesion_label(class_name: str, modality: str, twice: set[str]) -> str:
    label = LESION_SHORT.get(class_name.lower(), class_name)
    return f"{label} ({modality})" if class_name in twice else label
