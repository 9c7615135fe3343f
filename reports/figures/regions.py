"""Grouped bars by region, published values beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.protocol import Protocol
from reports.figures.drawing import (
    Drawing,
    bar,
    legend,
    model_entries,
    model_looks,
    pages_of,
    score_axis,
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
from reports.source.words import REGION_ORDER, few, how, left_out_of_regions, region_title

PANELS = 4


def regions_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """Mean and interval of each model in each region, a panel for each measure."""
    frame = source.region_means(protocol)
    if frame is None:
        return []
    printed = published_lookup(source, "region")
    regions = [r for r in REGION_ORDER if r in set(frame["region"])]
    series = [(m, False) for m in source.shown]
    series += [(m, True) for m in published_models(source, printed)]
    rows = rows_by(frame, "model", "region")
    sizes = frame.groupby("region")["n_classes"].max()
    labels = [f"{region_title(r, short=True)}\n{int(sizes[r])} classes" for r in regions]
    theirs = [model for model, published in series if published]
    entries = model_entries(source, source.shown, theirs, published_head(source))
    drawings = []
    for page in pages_of(source.measures, PANELS):
        height = 52.5 if len(page.measures) > 1 else 60
        figure, panels = canvas(
            "double", height * len(page.measures), rows=len(page.measures), sharex=True,
            squeeze=False,
        )  # fmt: skip
        data = {
            measure.key: _panel(axes, source, measure, regions, series, rows, printed)
            for axes, measure in zip(panels[:, 0], page.measures, strict=True)
        }
        panels[-1, 0].set_xticks(range(len(regions)), labels)
        legend(figure, entries, "bar")
        beside = any(":published" in name for values in data.values() for name in values)
        drawings.append(
            Drawing(
                name=f"regions{source.suffix(protocol)}{page.suffix}",
                title=f"Region-wise results{page.words}",
                caption=f"Mean over the classes of a region. {how(source, protocol)} Bars: 95 % "
                f"intervals over patients.{few(frame[frame['model'].isin(source.shown)])}"
                + f" {left_out_of_regions(source)}".rstrip()
                + " Dashed pale bars: published, on real patients, in the document's own protocol "
                "and composition." * beside,
                figure=figure,
                data=data,
            )
        )
    return drawings


def _panel(
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
            elif not published:
                axes.text(
                    x, 0.01, "not run", transform=axes.get_xaxis_transform(), rotation=90,
                    ha="center", va="bottom", fontsize=5, color=MUTED,
                )  # fmt: skip
        if not published or np.isfinite(heights).any():
            data[f"{model}:published" if published else model] = heights
    score_axis(axes, measure)
    grid_lines(axes)
    return data
