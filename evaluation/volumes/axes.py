"""The axis order of a grid whose voxels are not cubes: along which direction its sides lie.

Cases are stored with axes x, y, z towards R, A, S. A grid such as 1 x 1 x 3 mm is meant with its
long side across the slices, which are sagittal in some entries: there the grid's order is `ASR`,
with x towards A, y towards S and z towards R (the paper's code, "specific axcodes").

Of oblique scans, such as short axes of hearts, the slices lie nearest to another direction in
every patient: `slices-last` is the order that puts each scan's own slices last. All its orders are
right-handed, coronal slices towards P. Else one patient would be the mirror image of another whose
slices are tilted by a few degrees more, and a network that saw few of them does not know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    ornt_transform,
)

from evaluation.volumes.image_files import Affine, Array, Volume
from evaluation.volumes.segmentation import Segmentation

AxisOrder = Literal["RAS", "RSA", "ARS", "ASR", "SRA", "SAR", "RSP"]
AS_STORED: AxisOrder = "RAS"
GridAxes = AxisOrder | Literal["slices-last"]
SLICES_LAST: GridAxes = "slices-last"
N = TypeVar("N", int, float)

_BY_SLICE_AXIS: tuple[AxisOrder, ...] = "ASR", "RSP", "RAS"


def order_of(axes: GridAxes, spacing_mm: Sequence[float]) -> AxisOrder:
    """The axis order of a scan with that spacing along R, A, S.

    The slice axis of `slices-last` is the one of the largest spacing; of several that are alike to
    0.01 mm the last one, so that cubes stay as they are.
    """
    if axes != "slices-last":
        return axes
    across = max(range(3), key=lambda axis: (round(spacing_mm[axis], 2), axis))
    return _BY_SLICE_AXIS[across]


def orders_among(axes: GridAxes) -> str:
    """All orders that scans of an entry may have, for the digest of what is made by them."""
    return " ".join(_BY_SLICE_AXIS) if axes == "slices-last" else axes


def turned(volume: Volume, order: AxisOrder) -> Volume:
    """A volume (x, y, z) towards R, A, S with its axes in another order; a view of its array."""
    turn = _turn(AS_STORED, order)
    array = apply_orientation(volume.array, turn)
    return Volume(array, _turned_affine(volume.affine, turn, volume.array), volume.remark)


def turned_masks(masks: Segmentation, order: AxisOrder) -> Segmentation:
    """The same for label layers."""
    return _exchanged(masks, _turn(AS_STORED, order))


def turned_points(points: Array, order: AxisOrder, shape: Sequence[int]) -> Array:
    """Voxel indices (N, 3) of a volume (shape along R, A, S), as indices of the turned volume."""
    back = np.linalg.inv(inv_ornt_aff(_turn(AS_STORED, order), tuple(shape)))
    moved: Array = np.rint(points @ back[:3, :3].T + back[:3, 3]).astype(points.dtype)
    return moved


def turned_back(masks: Segmentation, order: AxisOrder) -> Segmentation:
    """Label layers on a grid of some order, as layers towards R, A, S."""
    return _exchanged(masks, _turn(order, AS_STORED))


def array_turned_back(array: Array, order: AxisOrder) -> Array:
    """An array on a grid of some order with its axes towards R, A, S; a view."""
    turned: Array = apply_orientation(array, _turn(order, AS_STORED))
    return turned


def along_ras(sides: tuple[N, N, N], order: AxisOrder) -> tuple[N, N, N]:
    """A grid's sides (mm or voxels) along R, A and S, from those along its own x, y and z."""
    right, anterior, superior = (int(axis) for axis in np.argsort(_stored_axes(order)))
    return sides[right], sides[anterior], sides[superior]


def slice_axis(order: AxisOrder) -> int:
    """The stored axis (0 ... 2) along which a grid of some order has its z."""
    return int(_stored_axes(order)[2])


def _stored_axes(order: AxisOrder) -> Array:
    """For each axis of a grid the stored axis that it lies along."""
    axes: Array = axcodes2ornt(order)[:, 0].astype(int)
    return axes


def _turn(start: AxisOrder, end: AxisOrder) -> Array:
    """What nibabel calls the transform of one orientation into another."""
    turn: Array = ornt_transform(axcodes2ornt(start), axcodes2ornt(end))
    return turn


def _turned_affine(affine: Affine, turn: Array, array: Array) -> Affine:
    return np.asarray(affine @ inv_ornt_aff(turn, array.shape))


def _exchanged(masks: Segmentation, turn: Array) -> Segmentation:
    affine = _turned_affine(masks.affine, turn, masks.layers[0])
    layers = tuple(apply_orientation(layer, turn) for layer in masks.layers)
    return Segmentation(layers, affine, masks.classes)
