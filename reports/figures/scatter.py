"""One measure against another, and measures against the size of the structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.protocol import Protocol
from reports.figures.choice import choose
from reports.figures.drawing import (
    Drawing,
    legend,
    log_axis,
    model_entries,
    model_looks,
    pages_of,
    score_axis,
    side_by_side,
)
from reports.layout.style import INK, MUTED, Look, canvas, grid_lines
from reports.source.cases import CaseRows
from reports.source.measures import Measure
from reports.source.run import RunSource, rows_by
from reports.source.words import how

BINS = 8
FEWEST_OF_A_BIN = 3


def agreement_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """The leading measure against each other one, a point for each entry and class."""
    frame = source.pick("dataset_class", protocol)
    if frame is None:
        return []
    rows = rows_by(frame[frame["preferred"]], "model", "dataset", "class")
    colours, lead, choice = model_looks(source), source.lead, choose(source)
    drawings = []
    for other in source.measures:
        if other is lead:
            continue
        figure, axes = canvas("single", 85)
        data: dict[str, list[list[float]]] = {}
        # Of unbounded measures, even of one unit, the values lie where they lie.
        alike = other.limits == lead.limits and bool(np.isfinite(lead.limits).all())
        if alike:
            axes.plot(lead.limits, lead.limits, color=MUTED, linewidth=0.6, linestyle=":")
        for model in choice.models:
            keys = [key[1:] for key in rows if key[:2] == (lead.key, model)]
            points = [
                [float(m.scaled(rows[m.key, *key]["value"])) for m in (lead, other)]
                for key in keys
                if (other.key, *key) in rows
            ]
            look, (x, y) = colours[model], np.array(points).reshape(-1, 2).T
            axes.scatter(
                x, y, s=9, marker=look.marker, color=look.colour, edgecolors=INK, linewidths=0.3,
                alpha=0.8,
            )  # fmt: skip
            data[model] = points
        score_axis(axes, lead, "x", 0.02)
        score_axis(axes, other, "y", 0.02)
        if alike:
            axes.set_aspect("equal")
        axes.grid(visible=True, axis="both")
        legend(figure, model_entries(source, choice.models), "dot")
        drawings.append(
            Drawing(
                name=f"{lead.key}_against_{other.key}{source.suffix(protocol)}",
                title=f"{lead.title} against {other.words}",
                caption=f"One point per entry and class.{choice.words} {how(source, protocol)}",
                figure=figure,
                data=data,
            )
        )
    return drawings


def size_figures(source: RunSource, protocol: Protocol, rows: CaseRows) -> list[Drawing]:
    """Score against the volume of the structure: medians and quartiles in bins of volume."""
    frames = {m.key: _sized(source, rows, protocol, m) for m in source.measures}
    volumes = np.concatenate([f["reference_ml"].to_numpy(dtype=float) for f in frames.values()])
    if not len(volumes):
        return []
    low, high = np.log10(np.quantile(volumes, [0.002, 0.998]))
    if high - low < 0.5:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    colours = model_looks(source)
    known = {str(m) for f in frames.values() for m in f["model"].unique()}
    choice = choose(source, of=known)
    models = choice.models
    step = _step(edges, len(models))
    drawings = []
    for page in pages_of(source.measures):
        figure, panels = side_by_side(page, 75)
        data: dict[str, dict[str, list[float]]] = {}
        for axes, measure in panels:
            frame = frames[measure.key]
            data[measure.key] = {
                model: _line(
                    axes,
                    frame[frame["model"] == model],
                    edges,
                    colours[model],
                    10 ** (step * (index - (len(models) - 1) / 2)),
                )
                for index, model in enumerate(models)
            }
            log_axis(axes)
            axes.set_xlabel("volume of the reference (ml)")
            score_axis(axes, measure)
            grid_lines(axes)
        legend(figure, model_entries(source, models), "dot")
        first = frames[page.measures[0].key]
        n = int(first["model"].isin(models).sum())
        drawings.append(
            Drawing(
                name=f"score_against_size{source.suffix(protocol)}{page.suffix}",
                title=f"Score against structure size{page.words}",
                caption="Medians (lines: quartiles) of class x scan scores in bins of the "
                f"reference's volume with at least {FEWEST_OF_A_BIN} of them; {n:,} scores of "
                f"{len(models)} models.{choice.words} {how(source, protocol)}",
                figure=figure,
                data=data,
            )
        )
    return drawings


def _sized(source: RunSource, rows: CaseRows, protocol: Protocol, measure: Measure) -> pd.DataFrame:
    """Printed values of the shown models on structures of known size."""
    frame = rows.frame(protocol, measure)
    frame = frame[(frame["reference_ml"] > 0) & frame["value"].notna()]
    frame = frame[frame["model"].isin(source.shown)]
    return frame.assign(value=measure.scaled(frame["value"]))


def _step(edges: NDArray[np.float64], models: int) -> float:
    """By how much (decades) the points of two models are apart, all within their bin."""
    return float(min(0.025, 0.6 * (edges[1] - edges[0]) / models))


def _line(
    axes: Any, frame: pd.DataFrame, edges: NDArray[np.float64], look: Look, shift: float
) -> list[float]:
    """Draw a model's medians and quartiles; returns the medians."""
    if frame.empty:
        return []
    place = np.clip(np.digitize(np.log10(frame["reference_ml"]), edges) - 1, 0, BINS - 1)
    grouped = frame.groupby(place)["value"]
    quartiles = grouped.quantile(np.array([0.25, 0.5, 0.75])).unstack()
    quartiles = quartiles[grouped.size() >= FEWEST_OF_A_BIN]
    x = 10 ** ((edges[:-1] + edges[1:]) / 2)[quartiles.index.to_numpy()] * shift
    axes.vlines(x, quartiles[0.25], quartiles[0.75], color=look.colour, linewidth=0.9)
    axes.plot(
        x, quartiles[0.5], color=look.colour, marker=look.marker, markersize=3.5,
        markeredgecolor=INK, markeredgewidth=0.3,
    )  # fmt: skip
    medians: list[float] = quartiles[0.5].tolist()
    return medians
