"""The pictures of the page of concepts, drawn from numbers that `satbench` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import satbench

GOOD, BAD, SAME = "#1b6ca8", "#c2410c", "#94a3b8"
COLOURS = mpl.colors.ListedColormap(["white", SAME, BAD, GOOD])


def draw(folder: Path) -> None:
    """Write `policies.svg`, `spaces.svg`, `views.svg` and `intervals.svg`."""
    with mpl.rc_context({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "satbench"}):
        for name, figure in {
            "policies": _policies(),
            "spaces": _spaces(),
            "views": _views(),
            "intervals": _intervals(),
        }.items():
            figure.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})


def _disc(x: float, y: float, radius: float, n: int = 32) -> NDArray[np.bool_]:
    columns, rows = np.meshgrid(np.arange(n), np.arange(n))
    return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def _show(axes: Any, reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> None:
    both, missed, extra = reference & prediction, reference & ~prediction, prediction & ~reference
    axes.imshow(
        both * 1 + missed * 2 + extra * 3, cmap=COLOURS, vmin=0, vmax=3, interpolation="nearest"
    )
    axes.set(xticks=[], yticks=[])


def _dsc(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """DSC of two slices, as of volumes five voxels thick."""
    masks = (np.repeat(m[..., None], 5, axis=-1) for m in (reference, prediction))
    return float(satbench.score(*masks, spacing_mm=(1, 1, 1), metrics=["dsc"])["dsc"])


def _policies() -> Figure:
    figure = Figure(figsize=(9, 3))
    empty, organ, near = np.zeros((32, 32), bool), _disc(15, 15, 9), _disc(18, 15, 9)
    cases = [
        (
            organ,
            near,
            "both hold something",
            f"{_dsc(organ, near):.2f}",
            f"{_dsc(organ, near):.2f}",
        ),
        (organ, empty, "missed", "0", "0"),
        (empty, near, "not there, but found", "not scored", "0"),
        (empty, empty, "both empty", "not scored", "1"),
    ]
    for axes, (reference, prediction, title, present, paper) in zip(
        figure.subplots(1, 4), cases, strict=True
    ):
        _show(axes, reference, prediction)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"present-only: {present}\npaper: {paper}")
    return figure


def _spaces() -> Figure:
    """One outline on its own grid and on one three times as coarse in one direction."""
    figure = Figure(figsize=(7, 3))
    fine = _disc(15.5, 15.5, 9.4)
    coarse = fine[1::3]
    back = np.repeat(coarse, 3, axis=0)[: len(fine)]
    back = np.pad(back, ((0, len(fine) - len(back)), (0, 0)))
    for axes, (masks, title) in zip(
        figure.subplots(1, 3),
        [
            ((fine, fine), "native: 1 mm"),
            ((coarse, coarse), "resampled: 3 mm"),
            ((fine, back), f"there and back: DSC {_dsc(fine, back):.2f}"),
        ],
        strict=True,
    ):
        _show(axes, *masks)
        axes.set_aspect(3 if len(masks[0]) < len(fine) else 1)
        axes.set_title(title, fontsize=10)
    return figure


def _views() -> Figure:
    figure = Figure(figsize=(7, 2))
    axes = figure.subplots()
    linked = {2, 5}
    for row, (view, kept) in enumerate(
        [("paper", set(range(8))), ("clean", set(range(8)) - linked)]
    ):
        for case in range(8):
            axes.scatter(
                case,
                -row,
                s=220,
                facecolor=(BAD if case in linked else GOOD) if case in kept else "white",
                edgecolor=BAD if case in linked else GOOD,
            )
        axes.text(8, -row, f"n = {len(kept)}", va="center")
        axes.text(-0.8, -row, view, va="center", ha="right")
    axes.set(xlim=(-2.2, 9.5), ylim=(-1.6, 0.6))
    axes.set_title("test cases; orange: linked to a training scan", fontsize=10)
    axes.axis("off")
    return figure


def _intervals() -> Figure:
    """The same mean of 12 patients and of 48: what differs is how much can be claimed."""
    figure = Figure(figsize=(7, 2))
    axes = figure.subplots()
    random = np.random.default_rng(0)
    for row, n in enumerate((12, 48)):
        values = random.normal(size=n)
        values = 0.8 + 0.06 * (values - values.mean()) / values.std()
        draws = random.choice(values, (2000, n)).mean(axis=1)
        low, high = np.quantile(draws, (0.025, 0.975))
        axes.scatter(values, np.full(n, -row), color=SAME, s=12)
        axes.plot([low, high], [-row, -row], color=GOOD, linewidth=4)
        axes.scatter(0.8, -row, color="black", zorder=3)
    axes.set(yticks=[0, -1], yticklabels=["12 patients", "48 patients"], xlabel="DSC")
    axes.set_ylim(-1.6, 0.6)
    return figure
