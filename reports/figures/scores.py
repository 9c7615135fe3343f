"""Figures of scores: bars by region and dots by class, published values beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from evaluation.protocol import Protocol
from reports.figures.choice import SERIES, choose, label
from reports.figures.drawing import (
    Drawing,
    MeasurePage,
    bar,
    dot,
    legend,
    model_entries,
    model_looks,
    offsets,
    pages_of,
    row_height,
    score_axis,
    side_by_side,
)
from reports.layout.style import MUTED, canvas, grid_lines
from reports.source.measures import Measure
from reports.source.published import (
    Lookup,
    published_head,
    published_lookup,
    published_models,
    published_value,
)
from reports.source.run import Rows, RunSource, rows_by
from reports.source.words import (
    REGION_ORDER,
    count,
    few,
    how,
    left_out_of_regions,
    listed,
    modality_title,
    region_title,
)

PANELS = 4
ROWS_MM = 195.0
"""Height of the rows of a page."""
Place = tuple[str, str, str]
"""Region, modality, class."""


def regions_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Mean and interval of each model in each region, a panel for each measure."""
    frame = source.region_means(protocol)
    if frame is None:
        return []
    regions = [r for r in REGION_ORDER if r in set(frame["region"])]
    return _grouped_bars(
        source, protocol, frame, "region", {r: region_title(r, short=True) for r in regions},
        f" {left_out_of_regions(source)}".rstrip(),
    )  # fmt: skip


def aspects_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Mean and interval of each model in each aspect, a panel for each measure."""
    frame = source.pick("aspect", protocol)
    if frame is None:
        return []
    found = set(frame["aspect"])
    titles = {a: shown.title or a for a, shown in source.aspects.items() if a in found}
    return _grouped_bars(source, protocol, frame, "aspect", titles)


def _grouped_bars(
    source: RunSource,
    protocol: Protocol,
    frame: pd.DataFrame,
    scope: str,
    titles: dict[str, str],
    closing: str = "",
) -> list[Drawing]:
    """Bars of every model for each region, or whatever the key column `scope` of the table has."""
    printed = published_lookup(source, scope)
    regions = list(titles)
    theirs = list(published_models(source, printed))
    choice = choose(source, SERIES - len(theirs))
    series = [*((m, False) for m in choice.models), *((m, True) for m in theirs)]
    rows = rows_by(frame, "model", scope)
    sizes = frame.groupby(scope)["n_classes"].max()
    labels = [f"{title}\n{count(int(sizes[r]), 'class', 'classes')}" for r, title in titles.items()]
    heads = {m: published_head(source, m) for m in theirs}
    entries = model_entries(source, choice.models, heads)
    drawings = []
    for page in pages_of(source.measures, PANELS):
        height = 52.5 if len(page.measures) > 1 else 60
        figure, panels = canvas(
            "double", height * len(page.measures), rows=len(page.measures), sharex=True,
            squeeze=False,
        )  # fmt: skip
        data = {
            measure.key: _bars(axes, source, measure, regions, series, rows, printed)
            for axes, measure in zip(panels[:, 0], page.measures, strict=True)
        }
        panels[-1, 0].set_xticks(range(len(regions)), labels)
        legend(figure, entries, "bar")
        beside = any(":published" in name for values in data.values() for name in values)
        drawings.append(
            Drawing(
                name=f"{scope}s{source.suffix(protocol)}{page.suffix}",
                title=f"{scope.capitalize()}-wise results{page.words}",
                caption=f"Mean over the classes of each {scope}. {how(source, protocol)} Bars: "
                f"95 % intervals over patients.{few(frame[frame['model'].isin(choice.models)])}"
                f"{choice.words}"
                + closing
                + " Dashed pale bars: published, on real patients, in the document's own protocol "
                "and composition." * beside,
                figure=figure,
                data=data,
            )
        )
    return drawings


def _bars(
    axes: Any,
    source: RunSource,
    measure: Measure,
    regions: list[str],
    series: list[tuple[str, bool]],
    rows: Rows,
    printed: Lookup,
) -> dict[str, list[float]]:
    """Draw a measure's bars; returns the heights of each series."""
    colours = model_looks(source)
    width = 0.84 / len(series)
    data: dict[str, list[float]] = {}
    for index, (model, published) in enumerate(series):
        heights = []
        for position, region in enumerate(regions):
            x = position + (index - (len(series) - 1) / 2) * width
            interval = None
            if published:
                value = published_value(printed, measure, model, region)
            else:
                row = rows.get((measure.key, model, region))
                value = None if row is None else measure.printed(row["value"])
                if row is not None:
                    interval = measure.scaled(row["value_low"]), measure.scaled(row["value_high"])
            heights.append(np.nan if value is None else value)
            if value is not None:
                bar(axes, x, value, width * 0.94, colours[model], interval, published)
            elif not published and (
                word := _lacking(measure, (measure.key, model, region) in rows)
            ):
                axes.text(
                    x, 0.01, word, transform=axes.get_xaxis_transform(), rotation=90,
                    ha="center", va="bottom", fontsize=5, color=MUTED,
                )  # fmt: skip
        if not published or np.isfinite(heights).any():
            data[f"{model}:published" if published else model] = heights
    axes.set_xlim(-0.5, len(regions) - 0.5)
    score_axis(axes, measure)
    grid_lines(axes)
    return data


def _lacking(measure: Measure, known: bool) -> str:
    """What stands in place of a bar: of most classes nobody counts single structures."""
    if measure.metric.needs_instances:
        return ""
    return "undefined" if known else "not run"


def class_figures(source: RunSource, protocol: Protocol, merged: bool = False) -> list[Drawing]:
    """A row for each class, ordered by region, 42 on a page of few models; a panel a measure.

    Args:
        source: the run.
        protocol: of the numbers.
        merged: of the classes that several modalities have, over these modalities.
    """
    frame = source.pick("class", protocol)
    if frame is None:
        return []
    frame = frame[(frame["modality"] == "any") == merged]
    names = frame[["region", "modality", "class"]].astype(str).drop_duplicates()
    order = {region: i for i, region in enumerate(REGION_ORDER)}
    places = sorted(
        names.itertuples(index=False, name=None),
        key=lambda place: (order.get(place[0], 99), place[2], place[1]),
    )
    printed = published_lookup(source, "class")
    rows = rows_by(frame, "model", "modality", "class")
    choice = choose(source)
    height = row_height(len(choice.models))
    length = int(ROWS_MM / height)
    parts = [places[i : i + length] for i in range(0, len(places), length)]
    drawings = []
    for page in pages_of(source.measures):
        for number, part in enumerate(parts, 1):
            figure, data = _dots(source, choice.models, page, part, rows, printed)
            of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            drawings.append(
                Drawing(
                    name=f"classes{'_merged' * merged}{source.suffix(protocol)}{page.suffix}"
                    f"_{number}",
                    title=f"Class-wise results{', modalities merged' * merged}{page.words}{of}",
                    caption="Mean per class over entries"
                    + ", then over the modalities that have the class" * merged
                    + " with 95 % intervals."
                    f"{few(frame[frame['model'].isin(choice.models)])}{choice.words} "
                    f"{how(source, protocol)}"
                    + " Hollow: published, in the document's protocol."
                    * bool(printed),
                    figure=figure,
                    data=data,
                )
            )
    return drawings


def _dots(
    source: RunSource,
    models: list[str],
    page: MeasurePage,
    places: list[Place],
    rows: Rows,
    printed: Lookup,
) -> tuple[Any, dict[str, list[tuple[str, str, float]]]]:
    """The figure, and by measure the (class, model, value) that are drawn."""
    colours, titles = model_looks(source), published_models(source)
    figure, panels = side_by_side(page, 22 + row_height(len(models)) * len(places), sharey=True)
    data: dict[str, list[tuple[str, str, float]]] = {}
    beside: set[str] = set()
    for axes, measure in panels:
        drawn = data[measure.key] = []
        for y, (_, modality, name) in enumerate(places):
            for offset, model in zip(offsets(len(models)), models, strict=True):
                row = rows.get((measure.key, model, modality, name))
                value = None if row is None else measure.printed(row["value"])
                if row is None or value is None:
                    continue
                interval = measure.scaled(row["value_low"]), measure.scaled(row["value_high"])
                dot(axes, value, y + offset, colours[model], interval)
                drawn.append((name, model, value))
            for model in titles:
                value = printed.get((name, modality, model, measure.key))
                if value is not None:
                    dot(axes, value, y, colours[model], published=True)
                    beside.add(model)
        score_axis(axes, measure, axis="x")
        axes.grid(visible=True, axis="both", linewidth=0.4)
        axes.set_ylim(len(places) - 0.4, -0.6)
        for i in range(1, len(places)):
            if places[i][0] != places[i - 1][0]:
                axes.axhline(i - 0.5, color=MUTED, linewidth=0.6)
    labels = [f"{label(name)} ({_modalities(source, of, name)})" for _, of, name in places]
    panels[0][0].set_yticks(range(len(places)), labels)
    published = [m for m in titles if m in beside]
    legend(figure, model_entries(source, models, dict.fromkeys(published, "published")), "dot")
    return figure, data


def _modalities(source: RunSource, modality: str, name: str) -> str:
    """A modality as printed, `any` as those that have the class: `CT and MR`."""
    those = [m for m, asked in source.asked_classes if asked == name]
    return listed(map(modality_title, those if modality == "any" else [modality]))
