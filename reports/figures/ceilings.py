"""How far people agree as bars, and the models of the run as dots beside them."""

from __future__ import annotations

import numpy as np

from reports.figures.choice import choose, label
from reports.figures.drawing import (
    Drawing,
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
from reports.layout.style import GRID, INK, MUTED, Look
from reports.source.ceilings import ceilings_of
from reports.source.run import RunSource

PANELS = 3
RATERS = "raters, against each other"


def ceilings_figures(source: RunSource) -> list[Drawing]:
    """A row for each class of entries with several raters, a panel for each measure."""
    found = ceilings_of(source)
    if found is None:
        return []
    choice = choose(source)
    looks, n = model_looks(source), len(found.places)
    drawings = []
    for page in pages_of(source.measures, PANELS):
        height = row_height(len(choice.models), 6.0)
        figure, panels = side_by_side(page, 24 + height * n, sharey=True)
        data: dict[str, list[tuple[str, str, float]]] = {}
        for axes, measure in panels:
            drawn = data[measure.key] = []
            for y, (entry, name) in enumerate(found.places):
                axes.axhline(y, color=GRID, linewidth=0.5, zorder=0)
                people = found.raters.get((measure.key, entry, name))
                if people is not None and np.isfinite(people["value"]):
                    value = float(measure.scaled(people["value"]))
                    ends = measure.scaled(people["value_low"]), measure.scaled(people["value_high"])
                    if np.isfinite(ends).all():
                        axes.fill_betweenx(
                            [y - 0.4, y + 0.4], *ends, color=MUTED, alpha=0.25, linewidth=0
                        )
                    axes.plot([value, value], [y - 0.4, y + 0.4], color=INK, linewidth=2.2)
                    drawn.append((entry, "raters", value))
                for shift, model in zip(offsets(len(choice.models)), choice.models, strict=True):
                    row = found.models.get((measure.key, model, entry, name))
                    shown = None if row is None else measure.printed(row["value"])
                    if row is not None and shown is not None:
                        ends = measure.scaled(row["value_low"]), measure.scaled(row["value_high"])
                        dot(axes, shown, y + shift, looks[model], ends)
                        drawn.append((entry, model, shown))
            score_axis(axes, measure, axis="x")
            axes.set_ylim(n - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
        titles = [label(found.title(source, entry, name)) for entry, name in found.places]
        panels[0][0].set_yticks(range(n), titles)
        people_look = (RATERS, Look(INK, "", "|"), False)
        legend(figure, [people_look, *model_entries(source, choice.models)], "dot")
        drawings.append(
            Drawing(
                name=f"ceilings{page.suffix}",
                title=f"Raters and models{page.words}",
                caption="Bars: people who drew the same scan against each other, by the engine "
                "that scores models, mean over pairs, with 95 % intervals over patients as bands. "
                "Dots: models against the reference, with their intervals. Native grid. "
                "Against a consensus of these people a model may stand beyond the bar without "
                f"being better than they are.{choice.words}",
                figure=figure,
                data=data,
            )
        )
    return drawings
