"""What the figures share: the drawn result, pages of measures, axes, bars, dots and legends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.figures.choice import choose, model_label
from reports.layout.style import INK, Look, canvas, looks
from reports.source.measures import Measure
from reports.source.published import published_models
from reports.source.run import RunSource
from reports.source.words import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


@dataclass(frozen=True)
class Drawing:
    """A drawn figure with its caption and the numbers behind it (for tests and for readers)."""

    name: str
    title: str
    caption: str
    figure: Figure
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasurePage:
    """Measures that are drawn side by side; `suffix` and `words` tell several pages apart."""

    measures: tuple[Measure, ...]
    suffix: str = ""
    words: str = ""


def pages_of(measures: Sequence[Measure], most: int = 3) -> list[MeasurePage]:
    """Measures in pages of at most `most` panels, as even as they can be."""
    if len(measures) <= most:
        return [MeasurePage(tuple(measures))] if measures else []
    pages = -(-len(measures) // most)
    parts = [tuple(part) for part in np.array_split(np.array(measures, dtype=object), pages)]
    return [
        MeasurePage(
            part,
            f"_{number}" if number > 1 else "",
            f": {listed(m.title if i == 0 else m.words for i, m in enumerate(part))}",
        )
        for number, part in enumerate(parts, 1)
    ]


def side_by_side(
    page: MeasurePage, height_mm: float, **grid: Any
) -> tuple[Figure, list[tuple[Axes, Measure]]]:
    """A figure of double width with a panel for each measure of a page."""
    figure, panels = canvas("double", height_mm, columns=len(page.measures), squeeze=False, **grid)
    return figure, list(zip(panels[0], page.measures, strict=True))


def model_looks(source: RunSource) -> dict[str, Look]:
    """Looks of the run's models; those that figures show get the most distinct ones.

    Published models take the look of ours where the run has them.
    """
    controls = [m for m in source.models if source.is_control(m)]
    known = set(source.published["model"])
    published = [m for m in published_models(source) if m in known and m not in source.models]
    first = choose(source).models
    others = [m for m in source.entrants if m not in first]
    return looks(list(dict.fromkeys([*first, *others, *published, *controls])))


def offsets(n: int, reach: float = 0.26) -> list[float]:
    """Where the dots of one row stand, around 0."""
    return np.linspace(-reach, reach, n).tolist() if n > 1 else [0.0]


def score_axis(axes: Axes, measure: Measure, axis: str = "y", room: float = 0.05) -> None:
    """Label an axis; it holds the whole range of a bounded measure, of others 0 and the data.

    Args:
        axes: with the data drawn.
        measure: what its values are.
        axis: `x` or `y`.
        room: above the largest possible value, as a share of the range.
    """
    side = "xy".index(axis)
    limits = (axes.set_xlim, axes.set_ylim)[side]
    low, high = measure.limits
    if np.isfinite([low, high]).all():
        limits(low, high + room * (high - low))
    elif np.isfinite(low):
        limits(low)
    else:
        (axes.axvline, axes.axhline)[side](0, color=INK, linewidth=0.6)
    (axes.set_xlabel, axes.set_ylabel)[side](measure.label)


def log_axis(axes: Axes, axis: str = "x") -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 (or at powers of ten on a long axis)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    side = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    short = high / max(low, 1e-12) < 300
    side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,), numticks=12))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    side.set_minor_formatter(NullFormatter())


def whole_numbers(axes: Axes, axis: str = "y") -> None:
    """Only whole numbers on an axis, for counts and ranks."""
    from matplotlib.ticker import MaxNLocator

    side = axes.xaxis if axis == "x" else axes.yaxis
    side.set_major_locator(MaxNLocator(integer=True))


def row_height(series: int, usual_mm: float = 4.6) -> float:
    """Millimetres of a row in which the dots of so many series keep apart."""
    return max(usual_mm, 1.1 * series)


def fit_texts(axes: Axes, texts: Sequence[Text], smallest: float = 4.0) -> bool:
    """Make texts that stand in cells one unit wide smaller until each fits into its own.

    Args:
        axes: whose layout is solved here.
        texts: all of one size.
        smallest: points.

    Returns:
        whether they fit.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    left, right = axes.transData.transform([(0, 0), (1, 0)])[:, 0]
    room = 0.9 * abs(right - left)
    widest = max((text.get_window_extent(renderer).width for text in texts), default=0.0)
    if widest > room:
        size = texts[0].get_fontsize() * room / widest
        for text in texts:
            text.set_fontsize(max(size, smallest))
        return bool(size >= smallest)
    return True


def millions(value: float) -> str:
    """A number of parameters: `107 M`, `1,084 M`, `0.25 M`."""
    return f"{value / 1e6:,.0f} M" if value >= 1e7 else f"{value / 1e6:.2g} M"


def bar(
    axes: Axes,
    x: float,
    height: float,
    width: float,
    look: Look,
    interval: tuple[float, float] | None = None,
    published: bool = False,
) -> None:
    """One bar with its interval."""
    axes.bar(x, height, width, **look.bar(published))
    if interval is not None and np.isfinite(interval).all():
        low, high = interval
        axes.plot([x, x], [low, high], color=INK, linewidth=0.8, zorder=4)
        for end in (low, high):
            axes.plot(
                [x - width / 5, x + width / 5], [end, end], color=INK, linewidth=0.8, zorder=4
            )


def dot(
    axes: Axes,
    x: float,
    y: float,
    look: Look,
    interval: tuple[float, float] | None = None,
    published: bool = False,
) -> None:
    """One dot of a horizontal dot plot with its interval."""
    if interval is not None and np.isfinite(interval).all():
        axes.plot(interval, [y, y], color=look.colour, linewidth=0.9, zorder=2)
    axes.plot([x], [y], zorder=3, **look.dot(3.4, published))


Entry = tuple[str, Look, bool]
"""Of a legend: label, look, whether it is a published value."""


def model_entries(
    source: RunSource, models: Sequence[str], published: Mapping[str, str] | None = None
) -> list[Entry]:
    """Entries of the run's models, and of published ones with their words in brackets."""
    colours, titles = model_looks(source), published_models(source)
    ours = [(model_label(source, m), colours[m], False) for m in models]
    theirs = [
        (f"{titles[m]} ({words})", colours[m], True) for m, words in (published or {}).items()
    ]
    return [*ours, *theirs]


def legend(figure: Figure, entries: Sequence[Entry], kind: str) -> None:
    """A legend above all panels, in as many columns as fit into the figure's width.

    Args:
        figure: with an Agg canvas (`style.canvas`).
        entries: what it explains.
        kind: `bar` or `dot`.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    drawn: Any = figure.canvas
    handles = [
        Patch(**look.bar(published), label=label)
        if kind == "bar"
        else Line2D([], [], **look.dot(4, published), label=label)
        for label, look, published in entries
    ]
    for columns in range(len(handles), 0, -1):
        made = figure.legend(handles=handles, loc="outside upper center", ncols=columns)
        width = made.get_window_extent(drawn.get_renderer()).width
        if columns == 1 or width <= figure.bbox.width:
            return
        made.remove()
