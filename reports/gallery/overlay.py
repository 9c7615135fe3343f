"""Pictures of a slice: the image in grey, the reference and a prediction as outlines.

Only the gallery uses this module. Slices are axial (x, y at one z) in the radiological view: the
patient's right is on the left of the picture, anterior is up. The aspect ratio follows the
spacing, so a sphere is a circle however coarse the voxels are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reports.layout.style import PREDICTION_COLOUR, REFERENCE_COLOUR

if TYPE_CHECKING:
    from PIL.Image import Image

CT_WINDOW_HU = (-160.0, 240.0)
CT_LUNG_WINDOW_HU = (-1250.0, 250.0)
CT_BONE_WINDOW_HU = (-450.0, 1050.0)
MARGIN_MM = 25.0
SIDE_PIXELS = 288
_OVERSAMPLE = 2
_DASH_PIXELS = 7.0


@dataclass(frozen=True)
class Window:
    """Grey values: `low` is black, `high` is white, in the unit of the image."""

    low: float
    high: float
    name: str


def window_for(image: NDArray[Any], modality: str, class_name: str) -> Window:
    """CT: lung, bone or soft-tissue window by the class; MRI: the 1st to 99.5th percentile."""
    if modality == "ct":
        words = class_name.lower()
        if any(w in words for w in ("lung", "trachea", "covid", "nodule")):
            return Window(*CT_LUNG_WINDOW_HU, "lung")
        if any(w in words for w in ("vertebra", "rib", "femur", "hip", "scapula", "clavic")):
            return Window(*CT_BONE_WINDOW_HU, "bone")
        return Window(*CT_WINDOW_HU, "soft tissue")
    low, high = np.percentile(image[np.isfinite(image)], [1.0, 99.5]).tolist()
    return Window(low, high if high > low else low + 1.0, "1st-99.5th percentile")


def choose_slice(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> int:
    """The axial slice (index along z) that shows most of the class and of its errors.

    Counted are the voxels of reference or prediction plus those on which they differ, so a slice
    with an error wins over an equally full one without; ties go to the lower index.
    """
    union = (reference | prediction).sum(axis=(0, 1), dtype=np.int64)
    differ = (reference ^ prediction).sum(axis=(0, 1), dtype=np.int64)
    score = union + differ
    return int(score.argmax()) if score.any() else reference.shape[2] // 2


def crop_of(
    masks: NDArray[np.bool_], spacing_mm: tuple[float, float], margin_mm: float = MARGIN_MM
) -> tuple[slice, slice]:
    """The square-ish part of a slice (x, y) around a mask, or the whole slice if it is empty."""
    if not masks.any():
        return slice(0, masks.shape[0]), slice(0, masks.shape[1])
    ranges = []
    for axis in (0, 1):
        hit = np.flatnonzero(masks.any(axis=1 - axis))
        ranges.append((hit[0] * spacing_mm[axis], (hit[-1] + 1) * spacing_mm[axis]))
    side = max(high - low for low, high in ranges) + 2 * margin_mm
    parts = []
    for axis, (low, high) in enumerate(ranges):
        centre = (low + high) / 2
        start = int(np.floor((centre - side / 2) / spacing_mm[axis]))
        stop = int(np.ceil((centre + side / 2) / spacing_mm[axis]))
        parts.append(slice(max(start, 0), min(stop, masks.shape[axis])))
    return parts[0], parts[1]


def draw(
    image: NDArray[Any],
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    window: Window,
    z: int | None = None,
) -> Image:
    """The picture (RGB) of one axial slice with outlines.

    Args:
        image: (x, y, z) in RAS orientation.
        reference: boolean mask on the same grid, a solid line.
        prediction: boolean mask on the same grid, a dashed line.
        spacing_mm: voxel size along x, y, z in mm.
        window: grey values.
        z: slice; by default `choose_slice`.
    """
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    index = choose_slice(reference, prediction) if z is None else z
    flat_reference, flat_prediction = reference[:, :, index], prediction[:, :, index]
    part = crop_of(flat_reference | flat_prediction, spacing_mm[:2])
    grey = np.clip((image[:, :, index][part] - window.low) / (window.high - window.low), 0, 1)
    grey = np.nan_to_num(grey)
    extent = [grey.shape[axis] * spacing_mm[axis] for axis in (0, 1)]
    scale = SIDE_PIXELS * _OVERSAMPLE / max(extent)
    size = (max(round(extent[0] * scale), 1), max(round(extent[1] * scale), 1))
    # In RAS, x grows to the patient's right and y to anterior. Rows of a picture grow downwards
    # and the radiological view has the patient's right on the left, so both axes are flipped.
    pixels = (grey[::-1, ::-1].T * 255).astype(np.uint8)
    picture = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BICUBIC)
    picture = picture.convert("RGB")
    pen = ImageDraw.Draw(picture)
    steps = (size[0] / grey.shape[0], size[1] / grey.shape[1])
    for mask, colour, dashed in (
        (flat_reference[part], REFERENCE_COLOUR, False),
        (flat_prediction[part], PREDICTION_COLOUR, True),
    ):
        for line in _outlines(mask):
            points = np.array(size) - line * np.array(steps)
            for piece in _dashes(points) if dashed else [points]:
                xy = [(float(x), float(y)) for x, y in piece]
                pen.line(xy, fill=colour, width=_OVERSAMPLE * 2, joint="curve")
    final = (max(size[0] // _OVERSAMPLE, 1), max(size[1] // _OVERSAMPLE, 1))
    return picture.resize(final, PillowImage.Resampling.LANCZOS)


def _outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed outlines of a mask (x, y) in voxel units, where voxel i covers i..i+1."""
    if not mask.any():
        return []
    from contourpy import contour_generator

    padded = np.pad(mask, 1).astype(np.float64)
    # Row i of the transposed array is y = i - 0.5 once the padding is taken off.
    lines = contour_generator(z=padded.T).lines(0.5)
    return [np.asarray(line, dtype=np.float64) - 0.5 for line in lines]


def _dashes(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cut a line (n, 2) in pixels into dashes and leave every other one out."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0:
        return []
    dash = _DASH_PIXELS * _OVERSAMPLE
    pieces = []
    for start in np.arange(0.0, along[-1], 2 * dash):
        at = np.linspace(start, min(start + dash, along[-1]), 8)
        xs = np.interp(at, along, points[:, 0])
        ys = np.interp(at, along, points[:, 1])
        pieces.append(np.column_stack([xs, ys]))
    return pieces
