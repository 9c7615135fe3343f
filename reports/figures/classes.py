"""Dot plots by class, with intervals; published values are hollow."""

from __future__ import annotations

from typing import Any

from evaluation.protocol import Protocol
from reports.figures.drawing import (
    Drawing,
    MeasurePage,
    dot,
    legend,
    model_entries,
    model_looks,
    offsets,
    pages_of,
    score_axis,
)
from reports.layout.style import MUTED, canvas
from reports.source.published import Lookup, published_lookup, published_models
from reports.source.run import Rows, RunSource, rows_by
from reports.source.words import REGION_ORDER, few, how, modality_title

ROWS_OF_A_PAGE = 42
Place = tuple[str, str, str]
"""Region, modality, class."""


def class_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """A row for each class, ordered by region, 42 on a page; a panel for each measure."""
    frame = source.pick("class", protocol)
    if frame is None:
        return []
    frame = frame[frame["modality"] != "any"]
    names = frame[["region", "modality", "class"]].astype(str).drop_duplicates()
    order = {region: i for i, region in enumerate(REGION_ORDER)}
    places = sorted(
        names.itertuples(index=False, name=None),
        key=lambda place: (order.get(place[0], 99), place[2], place[1]),
    )
    printed = published_lookup(source, "class")
    rows = rows_by(frame, "model", "modality", "class")
    parts = [places[i : i + ROWS_OF_A_PAGE] for i in range(0, len(places), ROWS_OF_A_PAGE)]
    drawings = []
    for page in pages_of(source.measures):
        for number, part in enumerate(parts, 1):
            figure, data = _page(source, page, part, rows, printed)
            of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            drawings.append(
                Drawing(
                    name=f"classes{source.suffix(protocol)}{page.suffix}_{number}",
                    title=f"Class-wise results{page.words}{of}",
                    caption="Mean per class over entries with 95 % intervals."
                    f"{few(frame[frame['model'].isin(source.shown)])} {how(source, protocol)}"
                    + " Hollow: published, in the document's protocol."
                    * bool(printed),
                    figure=figure,
                    data=data,
                )
            )
    return drawings


def _page(
    source: RunSource, page: MeasurePage, places: list[Place], rows: Rows, printed: Lookup
) -> tuple[Any, dict[str, list[tuple[str, str, float]]]]:
    """The figure, and by measure the (class, model, value) that are drawn."""
    colours, titles = model_looks(source), published_models(source)
    figure, panels = canvas(
        "double", 22 + 4.6 * len(places), columns=len(page.measures), sharey=True, squeeze=False
    )
    data: dict[str, list[tuple[str, str, float]]] = {}
    beside: set[str] = set()
    for axes, measure in zip(panels[0], page.measures, strict=True):
        drawn = data[measure.key] = []
        for y, (_, modality, name) in enumerate(places):
            for offset, model in zip(offsets(len(source.shown)), source.shown, strict=True):
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
    labels = [f"{name} ({modality_title(modality)})" for _, modality, name in places]
    panels[0, 0].set_yticks(range(len(places)), labels)
    published = [m for m in titles if m in beside]
    legend(figure, model_entries(source, source.shown, published, "published"), "dot")
    return figure, data
