"""A column for each region or lesion, a block of rows for each measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd

from evaluation.classes.regions import LESION, UNASSIGNED
from evaluation.protocol import Composition, Protocol
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.published import (
    published_head,
    published_lookup,
    published_models,
    published_value,
)
from reports.source.run import Rows, RunSource, rows_by
from reports.source.words import (
    NOT_RUN,
    SHORT_REGION,
    caption,
    counts,
    left_out_of_regions,
    modality_title,
    region_title,
    short,
)
from reports.tables.scores import Line, mean_cell, of_whole_classes, value_of

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


COMPOSED = {
    "all": "Unweighted mean over (modality, class) of a region, classes assigned by anatomy.",
    "leaves": "Mean over the (modality, class) of a region that are no union of others, so that no "
    "voxel counts twice.",
    "merged": "Mean over the (modality, class) of a region, left and right only together where a "
    "class has both.",
}
"""What a region's mean is over, in each composition."""


def regions_table(
    source: RunSource, protocol: Protocol, composition: Composition = "all"
) -> ReportTable | None:
    """Region-wise means, a column for each region that the run asks for.

    Args:
        source: the run.
        protocol: of the numbers.
        composition: which classes make up a region's mean.
    """
    frame = source.region_means(replace(protocol, composition=composition))
    if frame is None:
        return None
    largest = frame.groupby("region")[["n_classes", "n_patients"]].max()
    size = {str(r.Index): f"{r.n_classes} / {r.n_patients}" for r in largest.itertuples()}
    regions = [r for r in source.regions if r != UNASSIGNED]
    lacking = left_out_of_regions(source)
    return _table(
        source,
        protocol,
        scope="region",
        title="Region-wise results" + f", {composition}" * (composition != "all"),
        what=COMPOSED[composition],
        composition=composition,
        rows=rows_by(frame, "model", "region"),
        keys=[(region,) for region in regions],
        labels=[(region, region_title(region, short=True)) for region in regions],
        sizes=("classes / patients", [size.get(region, NOT_RUN) for region in regions]),
        notes=[f"{name}: {long}." for long, name in SHORT_REGION.items() if long in regions],
        closing=(lacking,) if lacking else (),
    )


def lesions_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Lesions, a column for each that the run asks for."""
    frame = source.pick("lesion", protocol)
    if frame is None:
        return None
    frame = frame[frame["modality"] != "any"].astype({"class": str, "modality": str})
    groups: dict[Any, pd.DataFrame] = dict(iter(frame.groupby(["class", "modality"])))
    asked = [(c, m) for m, c in source.asked_classes if source.region_of(m, c) == LESION]
    keys: list[tuple[str, str]] = [*groups, *(key for key in asked if key not in groups)]
    names = [name for name, _ in keys]
    labels = {name: LESION_SHORT.get(name.lower(), name) for name in names}
    used = {name.lower() for name in names} & set(LESION_SHORT)
    return _table(
        source,
        protocol,
        scope="lesion",
        title="Lesions",
        what="Mean over scans, then over the entries.",
        rows=rows_by(frame, "model", "class", "modality"),
        keys=keys,
        labels=[
            (
                f"{name} ({modality})",
                labels[name] + f" ({modality_title(modality)})" * (names.count(name) > 1),
            )
            for name, modality in keys
        ],
        sizes=(
            "scans / patients",
            [
                f"{counts(groups[k]['n_cases'])} / {counts(groups[k]['n_patients'])}"
                if k in groups
                else NOT_RUN
                for k in keys
            ],
        ),
        notes=["; ".join(f"{s}: {c}" for c, s in LESION_SHORT.items() if c in used) + "."]
        * bool(used),
    )


def _table(
    source: RunSource,
    protocol: Protocol,
    *,
    scope: Literal["region", "lesion"],
    title: str,
    what: str,
    rows: Rows,
    keys: Sequence[tuple[str, ...]],
    labels: Sequence[tuple[str, str]],
    sizes: tuple[str, list[Value]],
    notes: Sequence[str],
    closing: Sequence[str] = (),
    composition: Composition = "all",
) -> ReportTable:
    """A table with a column for each key: sizes, then a block for each measure.

    Args:
        source: the run.
        protocol: what the run's own numbers were made with.
        scope: of the published numbers.
        title: of the table.
        what: its numbers are, for the caption.
        rows: by (measure, model, *key).
        keys: of the columns; published numbers have the same.
        labels: of the columns, in the CSV and in print.
        sizes: what is counted, and how much of it stands behind each column.
        notes: below the table.
        closing: notes after those of the document's own table.
        composition: of a region's mean.
    """
    printed = published_lookup(source, scope)
    named = ("model", "region") if scope == "region" else ("model", "class", "modality")
    own_rows = source.own_rows(replace(protocol, composition=composition), scope, *named)
    lines: list[Line] = [(sizes[0], "", *sizes[1])]
    unranked, lower, blocks = {0}, set(), {0: "Size"}
    measures = list(source.measures) if scope == "lesion" else of_whole_classes(source)
    for measure in measures:
        blocks[len(lines)] = measure.head
        for model in source.shown:
            if source.is_control(model) or not measure.better:
                unranked.add(len(lines))
            if measure.better == "lower":
                lower.add(len(lines))
            values = [mean_cell(source, rows, measure, model, *key) for key in keys]
            lines.append((source.model_title(model), short(source, protocol), *values))
        for model in source.own_grid(protocol)[1]:
            unranked.add(len(lines))
            values = [value_of(own_rows, measure, model, *key) for key in keys]
            own = short(source, source.own_grid(protocol)[0])
            lines.append((source.model_title(model), own, *values))
        for model, name in published_models(source).items():
            found = [published_value(printed, measure, model, *key) for key in keys]
            if any(value is not None for value in found):
                unranked.add(len(lines))
                lines.append((f"{name} (published)", published_head(source, model), *found))
    return ReportTable(
        name=f"{scope}s{f'_{composition}' * (composition != 'all')}{source.suffix(protocol)}",
        title=source.numbered(scope, title),
        caption=caption(source, protocol, what, measures=measures, published=bool(printed)),
        columns=(
            ReportColumn("model", "Model"),
            ReportColumn("protocol", "Protocol"),
            *(
                ReportColumn(key, label, digits=2, ranked="down", right=True)
                for key, label in labels
            ),
        ),
        rows=tuple(lines),
        blocks=blocks,
        notes=(*notes, *(source.printed_notes(scope) if printed else ()), *closing),
        downwards=True,
        unranked=frozenset(unranked),
        lower=frozenset(lower),
    )
