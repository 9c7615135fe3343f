"""Every case as a point: the distribution of each class of an entry, models one below the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.protocol import Protocol
from reports.figures.choice import choose, label
from reports.figures.drawing import (
    Drawing,
    MeasurePage,
    legend,
    model_entries,
    model_looks,
    offsets,
    pages_of,
    score_axis,
    side_by_side,
)
from reports.layout.style import INK, MUTED, Look, lighter
from reports.source.cases import CaseRows
from reports.source.run import RunSource
from reports.source.words import how

MOST_MODELS = 6
ROWS_MM = 190.0
"""Height of the rows of a page."""
MODEL_MM = 3.6
_GOLDEN = 0.6180339887


def case_figures(source: RunSource, protocol: Protocol, rows: CaseRows) -> list[Drawing]:
    """Of each entry a figure: a row for each class, a panel for each measure.

    A point is a case; the pale box reaches from the first to the third quartile, its line is the
    median. Classes are in the order of the entry's card.
    """
    frames = {m.key: rows.frame(protocol, m) for m in source.measures}
    drawings: list[Drawing] = []
    for dataset in source.dataset_cards:
        parts = {k: f[(f["dataset"] == dataset) & f["value"].notna()] for k, f in frames.items()}
        found = set().union(*(set(part["class"].astype(str)) for part in parts.values()))
        classes = [c.name for c in source.dataset_cards[dataset].classes if c.name in found]
        if classes:
            drawings += _of_entry(source, protocol, dataset, classes, parts)
    return drawings


def _of_entry(
    source: RunSource,
    protocol: Protocol,
    dataset: str,
    classes: list[str],
    frames: dict[str, pd.DataFrame],
) -> list[Drawing]:
    known = {str(m) for frame in frames.values() for m in frame["model"].unique()}
    choice = choose(source, MOST_MODELS, of=known)
    row_mm = 3 + MODEL_MM * len(choice.models)
    length = max(int(ROWS_MM / row_mm), 1)
    sheets = [classes[at : at + length] for at in range(0, len(classes), length)]
    # Single structures are counted of few entries.
    measures = [m for m in source.measures if len(frames[m.key])]
    pages = pages_of(measures)
    title = source.dataset_title(dataset)
    drawings = []
    for page in pages:
        for number, names in enumerate(sheets, 1):
            figure, data = _strips(source, choice.models, page, names, frames, row_mm)
            many = len(sheets) > 1
            drawings.append(
                Drawing(
                    name=f"cases_{dataset}{source.suffix(protocol)}{page.suffix}"
                    + f"_part{number}" * many,
                    title=f"Every case of {title}{page.words}"
                    + f" ({number} of {len(sheets)})" * many,
                    caption="A point is a case; box: first to third quartile, line: median."
                    f"{choice.words} {how(source, protocol)}",
                    figure=figure,
                    data=data,
                )
            )
    return drawings


def _strips(
    source: RunSource,
    models: list[str],
    page: MeasurePage,
    classes: list[str],
    frames: dict[str, pd.DataFrame],
    row_mm: float,
) -> tuple[Any, dict[str, dict[str, list[float]]]]:
    """The figure, and by measure the printed values of each `class:model`."""
    colours = model_looks(source)
    figure, panels = side_by_side(page, 24 + row_mm * len(classes), sharey=True)
    reach = 0.5 * MODEL_MM * (len(models) - 1) / row_mm
    data: dict[str, dict[str, list[float]]] = {}
    for axes, measure in panels:
        drawn = data[measure.key] = {}
        frame = frames[measure.key]
        groups = {
            (str(name), str(model)): measure.scaled(part["value"].to_numpy(dtype=float))
            for (name, model), part in frame.groupby(["class", "model"], observed=True)
        }
        for y, name in enumerate(classes):
            for offset, model in zip(offsets(len(models), reach), models, strict=True):
                values = groups.get((name, model))
                if values is not None:
                    _strip(axes, values, y + offset, 0.36 * MODEL_MM / row_mm, colours[model])
                    drawn[f"{name}:{model}"] = values.tolist()
        score_axis(axes, measure, axis="x")
        axes.grid(visible=True, axis="x")
        axes.set_ylim(len(classes) - 0.5, -0.5)
        for y in range(1, len(classes)):
            axes.axhline(y - 0.5, color=MUTED, linewidth=0.3)
    panels[0][0].set_yticks(range(len(classes)), [label(name) for name in classes])
    panels[0][0].tick_params(axis="y", length=0)
    legend(figure, model_entries(source, models), "dot")
    return figure, data


def _strip(axes: Any, values: NDArray[np.float64], y: float, half: float, look: Look) -> None:
    """Box, median and points of one model on one class, between `y - half` and `y + half`."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.barh(y, high - low, 2 * half, left=low, color=lighter(look.colour, 0.65), zorder=2)
    # Neighbours in score stand apart, the same in every drawing: no random numbers.
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    apart = ((order + 1) * _GOLDEN % 1 - 0.5) * 1.7 * half
    axes.scatter(
        values, y + apart, s=4, marker=look.marker, color=look.colour, linewidths=0, alpha=0.75,
        zorder=3,
    )  # fmt: skip
    axes.plot([middle, middle], [y - half, y + half], color=INK, linewidth=1.1, zorder=4)
