"""Fonts, widths, colours, hatches and markers of every figure, in one place.

Colours are the Okabe-Ito set, ordered so that neighbours also differ in lightness; a hatch and a
marker go with each, so a figure survives greyscale print and colour-vision deficiency. Files are
the same bytes for the same numbers: no time stamps, a fixed salt for SVG ids, fonts embedded as
TrueType in PDF and as outlines in SVG.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.files.writing import atomic_path
from reports.layout.fonts import families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MM_PER_INCH = 25.4
WIDTH_MM: Mapping[str, float] = {"single": 89.0, "middle": 120.0, "double": 183.0}
MAX_HEIGHT_MM = 235.0

COLOURS: tuple[str, ...] = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#56B4E9",  # sky blue
    "#D55E00",  # vermilion
    "#F0E442",  # yellow
    "#999999",  # grey: on black, hatches, edges and error bars would not show
)
HATCHES: tuple[str, ...] = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "ooo", "++++")
MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X", "*")

INK = "#1A1A1A"
GRID = "#D9D9D9"
MUTED = "#6B6B6B"
REFERENCE_COLOUR = "#56B4E9"
PREDICTION_COLOUR = "#E69F00"
FORMATS: tuple[str, ...] = ("pdf", "svg", "png")

_RC: dict[str, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.5,
    "patch.linewidth": 0.5,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "satbench",
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Look:
    """How one series is drawn."""

    colour: str
    hatch: str
    marker: str

    def bar(self, published: bool = False) -> dict[str, Any]:
        """Of a bar; a published value is pale with a dashed edge, never to pass for a measured."""
        return {
            "facecolor": lighter(self.colour, 0.75) if published else self.colour,
            "hatch": self.hatch,
            "edgecolor": INK,
            "linewidth": 0.5,
            "linestyle": "--" if published else "-",
        }

    def dot(self, size: float, published: bool = False) -> dict[str, Any]:
        """Of a marker; a published value is hollow."""
        return {
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": "white" if published else self.colour,
            "markeredgecolor": self.colour if published else INK,
            "markeredgewidth": 0.8 if published else 0.4,
            "linestyle": "none",
        }


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look per series, in the order given.

    From the ninth series on the colours repeat with shifted hatches and markers, so no two of
    the first 64 series share colour and hatch.
    """
    found: dict[str, Look] = {}
    for index, name in enumerate(names):
        colour, turn = index % len(COLOURS), index // len(COLOURS)
        shifted = (colour + turn) % len(HATCHES)
        found[name] = Look(COLOURS[colour], HATCHES[shifted], MARKERS[shifted])
    return found


def lighter(colour: str, share: float = 0.55) -> str:
    """The colour mixed with white; `share` is the part of white in 0..1."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [round(c + (255 - c) * share) for c in channels]
    return "#" + "".join(f"{c:02X}" for c in mixed)


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour in 0..1 (WCAG 2)."""

    def linear(channel: int) -> float:
        value = channel / 255
        return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two sRGB colours, 1..21 (WCAG 2)."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@contextmanager
def drawing() -> Iterator[None]:
    """The style of every figure, without touching the caller's matplotlib settings."""
    import matplotlib as mpl

    settings: Any = _RC | {"font.family": families()}
    with mpl.rc_context(settings):
        yield


def canvas(width: str, height_mm: float, rows: int = 1, columns: int = 1, **grid: Any) -> Any:
    """A figure of a journal width with its axes (an array (rows, columns), or one `Axes`).

    Uses the Agg canvas directly: neither pyplot's global state nor a display is involved.

    Args:
        width: `single`, `middle` or `double`.
        height_mm: height in millimetres, cut at a page's height.
        rows: axes downwards.
        columns: axes sidewards.
        grid: further arguments of `Figure.subplots`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (WIDTH_MM[width] / MM_PER_INCH, min(height_mm, MAX_HEIGHT_MM) / MM_PER_INCH)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **grid)


def grid_lines(axes: Axes, axis: str = "y") -> None:
    """Thin guide lines behind the data along one axis."""
    axes.grid(visible=True, axis="x" if axis == "x" else "y")


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `<stem>.<format>` for each format; the same numbers give the same bytes."""
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "ModDate": None},
        "svg": {"Date": None},
        "png": {"Software": None},
    }
    # The layout is solved once, not again for every format.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    written = []
    for kind in formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata[kind])
        written.append(path)
    return written
