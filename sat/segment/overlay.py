"""A picture to judge a segmentation at a glance: three planes through the foreground."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.classes.modality import Modality
from evaluation.files.writing import atomic_path
from evaluation.training.settings import Millimetres
from evaluation.volumes.image_files import Array

CT_WINDOW_HU = (-160.0, 240.0)
MAX_LEGEND = 24
_ALPHA = 0.45
# Plane, its axis across the picture, its axis up the picture, letters left, right, bottom, top.
# The patient's right is on the left, as radiologists look at a patient.
_PLANES = (
    ("axial", 2, 0, 1, "RLPA"),
    ("coronal", 1, 0, 2, "RLIS"),
    ("sagittal", 0, 1, 2, "APIS"),
)


def middle_of(labels: Array) -> tuple[int, int, int]:
    """The slice along each axis that shows most of the foreground; the centre if there is none."""
    places = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        counts = np.count_nonzero(labels, axis=others)
        places.append(int(counts.argmax()) if counts.any() else labels.shape[axis] // 2)
    return places[0], places[1], places[2]


def grey_window(image: Array, modality: Modality) -> tuple[float, float]:
    """Grey values shown as black and white: soft tissue for CT, percentiles 1 and 99.5 for MR."""
    if modality == "ct":
        return CT_WINDOW_HU
    low, high = np.percentile(image[::2, ::2, ::2], (1, 99.5)).tolist()
    return low, max(high, low + 1e-6)


def draw_overlay(
    path: Path,
    image: Array,
    labels: Array,
    names: Sequence[str],
    spacing_mm: Millimetres,
    modality: Modality,
    title: str,
) -> None:
    """Draw axial, coronal and sagittal planes, coloured by class, as a PNG.

    Args:
        path: the picture.
        image: (x, y, z) in RAS-closest orientation.
        labels: the same shape; class `names[i]` has the value i + 1.
        names: of the classes, as the legend prints them.
        spacing_mm: voxel size along x, y, z, for the aspect of each plane.
        modality: chooses the grey window.
        title: above the planes.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = class_colours(len(names))
    centre = middle_of(labels)
    window = grey_window(image, modality)
    extent = np.array(labels.shape) * spacing_mm
    widths = [extent[across] for _, _, across, _, _ in _PLANES]
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    # As it stands: a prompt with dollars is no formula.
    figure.suptitle(title, parse_math=False)
    for axes, plane in zip(
        figure.subplots(1, 3, gridspec_kw={"width_ratios": widths}), _PLANES, strict=True
    ):
        kind, axis, across, up, letters = plane
        aspect = spacing_mm[up] / spacing_mm[across]
        settings: dict[str, Any] = {"origin": "lower", "aspect": aspect, "interpolation": "nearest"}
        grey = _picture(image, axis, centre[axis])
        axes.imshow(grey, cmap="gray", vmin=window[0], vmax=window[1], **settings)
        axes.imshow(_coloured(_picture(labels, axis, centre[axis]), colours), **settings)
        axes.set(title=f"{kind}, slice {centre[axis] + 1} of {labels.shape[axis]}")
        axes.set(xticks=[], yticks=[])
        _letters(axes, letters)
    handles = [Patch(color=colours[i], label=name) for i, name in enumerate(names[:MAX_LEGEND])]
    if len(names) > MAX_LEGEND:
        handles.append(Patch(color="none", label=f"and {len(names) - MAX_LEGEND} more"))
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def class_colours(n: int) -> list[tuple[float, float, float]]:
    """Colours of n classes: eight that colour-blind readers tell apart, or the hue circle."""
    from matplotlib import colors

    first = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"]
    if n <= len(first):
        return [colors.to_rgb(name) for name in first[:n]]
    # Steps of the golden ratio keep neighbours in the list far apart on the circle.
    hues = (np.arange(n) * 0.618034) % 1
    rows = colors.hsv_to_rgb(np.stack([hues, np.full(n, 0.75), np.full(n, 0.95)], axis=-1))
    return [(float(r), float(g), float(b)) for r, g, b in rows]


def _picture(volume: Array, axis: int, index: int) -> Array:
    """A plane with its rows upwards; every plane's horizontal axis is mirrored.

    With x to the patient's right, mirroring puts the right side on the left; with y to the
    front, it puts the face on the left.
    """
    plane: Array = np.take(volume, index, axis=axis).T[:, ::-1]
    return plane


def _coloured(labels: Array, colours: Sequence[tuple[float, float, float]]) -> NDArray[np.float64]:
    table = np.array([(0.0, 0.0, 0.0, 0.0), *((*colour, _ALPHA) for colour in colours)])
    coloured: NDArray[np.float64] = table[labels]
    return coloured


def _letters(axes: Any, letters: str) -> None:
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98))
    aligned = (("left", "center"), ("right", "center"), ("center", "bottom"), ("center", "top"))
    for letter, (x, y), (horizontal, vertical) in zip(letters, places, aligned, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, color="white", fontsize=9,
            ha=horizontal, va=vertical,
        )  # fmt: skip
