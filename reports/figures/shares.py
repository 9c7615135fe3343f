"""Transfer as a figure: score against the share of the training patients, from each start."""

from __future__ import annotations

import statistics
from typing import Any

from evaluation.protocol import Protocol
from reports.figures.choice import label
from reports.figures.drawing import Drawing, legend, pages_of, score_axis, side_by_side
from reports.layout.style import Look, grid_lines, looks
from reports.source.downstream import SharePoint, share_points
from reports.source.run import RunSource
from reports.source.words import how

APART = 1.06
"""By this factor single trainings stand beside their mean on the axis of shares, starts by two."""


def shares_figures(source: RunSource, protocol: Protocol) -> list[Drawing]:
    """A figure for each entry that variants were trained on shares of."""
    points = {measure.key: share_points(source, protocol, measure) for measure in source.measures}
    every = [point for found in points.values() for point in found if point.values]
    drawings = []
    for dataset in dict.fromkeys(point.dataset for point in every):
        own = [point for point in every if point.dataset == dataset]
        starts = looks(list(dict.fromkeys(point.start for point in own)))
        shares = sorted({point.percent for point in own})
        for page in pages_of(source.measures):
            figure, panels = side_by_side(page, 70)
            data: dict[str, dict[str, list[tuple[float, float]]]] = {}
            for axes, measure in panels:
                drawn = data[measure.key] = {}
                for number, (start, look) in enumerate(starts.items()):
                    found = [
                        p for p in points[measure.key]
                        if (p.dataset, p.start) == (dataset, start) and p.values
                    ]  # fmt: skip
                    drawn[start] = _line(axes, found, look, APART ** (2 * number))
                axes.set_xscale("log")
                axes.set_xticks(shares, [f"{share:g}" for share in shares])
                axes.minorticks_off()
                axes.set_xlabel("share of the training patients (%)")
                score_axis(axes, measure)
                grid_lines(axes)
            legend(figure, [(label(start), look, False) for start, look in starts.items()], "dot")
            title = source.dataset_title(dataset)
            drawings.append(
                Drawing(
                    name=f"shares_{dataset}{source.suffix(protocol)}{page.suffix}",
                    title=f"{title} by the share of its training patients{page.words}",
                    caption="Small: single trainings, each of another draw of patients or seed; "
                    "large: their mean with one standard deviation (n − 1) over trainings to "
                    "either side, where there are several. No interval is over test patients. "
                    f"The recipe is this project's own. {how(source, protocol)}",
                    figure=figure,
                    data=data,
                )
            )
    return drawings


def _line(
    axes: Any, points: list[SharePoint], look: Look, moved: float
) -> list[tuple[float, float]]:
    """Draw a start's trainings beside their means; returns (share, mean)."""
    means = [(point.percent, statistics.fmean(point.values)) for point in points]
    x = [point.percent * moved for point in points]
    axes.plot(x, [mean for _, mean in means], color=look.colour, zorder=2)
    for place, point, (_, mean) in zip(x, points, means, strict=True):
        if len(point.values) > 1:
            spread = statistics.stdev(point.values)
            axes.plot([place, place], [mean - spread, mean + spread], color=look.colour, zorder=2)
            axes.plot([place * APART] * len(point.values), point.values, zorder=3, **look.dot(2.2))
        axes.plot([place], [mean], zorder=4, **look.dot(4))
    return means
