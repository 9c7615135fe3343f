"""What the figures share: the drawn result, axis labels, and horizontal dot rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.figures.style import INK, Look, lighter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A drawn figure with its caption and the numbers behind it (for tests and for readers)."""

    name: str
    title: str
    caption: str
    figure: Figure
    data: dict[str, Any] = field(default_factory=dict)


def score_axis(axes: Axes, metric: str, axis: str = "y", upper: float = 105.0) -> None:
    """Label an axis as a score in percent from 0."""
    label = {"dsc": "DSC (%)", "nsd": "NSD (%)"}[metric]
    if axis == "y":
        axes.set_ylim(0, upper)
        axes.set_ylabel(label)
    else:
        axes.set_xlim(0, upper)
        axes.set_xlabel(label)


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


def whole_numbers(axes: Axes) -> None:
    """Only whole numbers on the vertical axis, for counts."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


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
    """One bar; a published value is pale with a dashed edge, never to pass for a measured one."""
    axes.bar(
        x,
        height,
        width,
        facecolor=lighter(look.colour, 0.75) if published else look.colour,
        hatch=look.hatch,
        edgecolor=INK,
        linewidth=0.5,
        linestyle="--" if published else "-",
    )
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
    """One dot of a horizontal dot plot with its interval; published values are hollow."""
    if interval is not None and np.isfinite(interval).all():
        axes.plot(interval, [y, y], color=look.colour, linewidth=0.9, zorder=2)
    axes.plot(
        [x],
        [y],
        marker=look.marker,
        markersize=3.4,
        markerfacecolor="white" if published else look.colour,
        markeredgecolor=look.colour if published else INK,
        markeredgewidth=0.8 if published else 0.4,
        linestyle="none",
        zorder=3,
    )


def _handles(looks: dict[str, tuple[str, Look, bool]], kind: str) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for label, look, published in looks.values():
        if kind == "bar":
            handles.append(
                Patch(
                    facecolor=lighter(look.colour, 0.75) if published else look.colour,
                    hatch=look.hatch,
                    edgecolor=INK,
                    linestyle="--" if published else "-",
                    label=label,
                )
            )
        else:
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="none",
                    marker=look.marker,
                    markersize=4,
                    markerfacecolor="white" if published else look.colour,
                    markeredgecolor=look.colour if published else INK,
                    markeredgewidth=0.8 if published else 0.4,
                    label=label,
                )
            )
    return handles


def legend(figure: Figure, entries: dict[str, tuple[str, Look, bool]], kind: str) -> None:
    """A legend above all panels, in as many columns as fit into the figure's width.

    Args:
        figure: with an Agg canvas (`style.canvas`).
        entries: key → (label, look, whether it is a published value).
        kind: `bar` or `dot`.
    """
    renderer: Any = figure.canvas
    renderer = renderer.get_renderer()
    handles = _handles(entries, kind)
    for columns in range(len(handles), 0, -1):
        made = figure.legend(handles=handles, loc="outside upper center", ncols=columns)
        if columns == 1 or made.get_window_extent(renderer).width <= figure.bbox.width:
            return
        made.remove()
