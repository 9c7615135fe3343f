"""The axis order of a grid whose voxels are not cubes: along which direction its sides lie.

Cases are stored with axes x, y, z towards R, A, S. A grid such as 1 x 1 x 3 mm is meant with its
long side across the slices, which are sagittal in some entries: there the grid's order is `ASR`,
with x towards A, y towards S and z towards R (the paper's code, "specific axcodes"). Axes are
exchanged, never mirrored.

Of oblique scans, such as short axes of hearts, the slices lie nearest to another direction in
every patient: `slices-last` is the order that puts each scan's own slices last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

from evaluation.volumes.image_files import Affine, Array, Volume
from evaluation.volumes.segmentation import Segmentation

AxisOrder = Literal["RAS", "RSA", "ARS", "ASR", "SRA", "SAR"]
AS_STORED: AxisOrder = "RAS"
GridAxes = AxisOrder | Literal["slices-last"]
SLICES_LAST: GridAxes = "slices-last"
N = TypeVar("N", int, float)


def order_of(axes: GridAxes, spacing_mm: Sequence[float]) -> AxisOrder:
    """The axis order of a scan with that spacing along R, A, S.

    The slice axis of `slices-last` is the one of the largest spacing; of several that are alike to
    0.01 mm the last one, so that cubes stay as they are.
    """
    if axes != "slices-last":
        return axes
    across = max(range(3), key=lambda axis: (round(spacing_mm[axis], 2), axis))
    orders: tuple[AxisOrder, ...] = "ASR", "RSA", "RAS"
    return orders[across]


def turned(volume: Volume, order: AxisOrder) -> Volume:
    """A volume (x, y, z) towards R, A, S with its axes in another order; a view of its array."""
    axes = _stored_axes(order)
    return Volume(volume.array.transpose(axes), volume.affine[:, [*axes, 3]], volume.remark)


def turned_masks(masks: Segmentation, order: AxisOrder) -> Segmentation:
    """The same for label layers."""
    return _exchanged(masks, _stored_axes(order))


def turned_points(points: Array, order: AxisOrder) -> Array:
    """Voxel indices (N, 3) along R, A, S as indices of the turned volume."""
    return points[:, _stored_axes(order)]


def turned_back(masks: Segmentation, order: AxisOrder) -> Segmentation:
    """Label layers on a grid of some order, as layers towards R, A, S."""
    return _exchanged(masks, _sides(order))


def array_turned_back(array: Array, order: AxisOrder) -> Array:
    """An array on a grid of some order with its axes towards R, A, S; a view."""
    return array.transpose(_sides(order))


def along_ras(sides: tuple[N, N, N], order: AxisOrder) -> tuple[N, N, N]:
    """A grid's sides (mm or voxels) along R, A and S, from those along its own x, y and z."""
    right, anterior, superior = _sides(order)
    return sides[right], sides[anterior], sides[superior]


def _stored_axes(order: AxisOrder) -> list[int]:
    """For each axis of a grid the stored axis that it lies along."""
    return [AS_STORED.index(letter) for letter in order]


def _sides(order: AxisOrder) -> list[int]:
    """For each stored axis the axis of the grid."""
    return [int(axis) for axis in np.argsort(_stored_axes(order))]


def _exchanged(masks: Segmentation, axes: list[int]) -> Segmentation:
    affine: Affine = masks.affine[:, [*axes, 3]]
    layers = tuple(layer.transpose(axes) for layer in masks.layers)
    return Segmentation(layers, affine, masks.classes)
