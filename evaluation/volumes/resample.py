"""Nearest-neighbour resampling of label maps onto another grid of the same axes.

Used for the `resampled` space, where every model's native output and the reference go through
the same resampling, and to bring the reference onto a model's own grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.volumes.image_files import Affine, Array, spacing_of
from evaluation.volumes.segmentation import Segmentation


def grid_of_spacing(
    shape: tuple[int, ...], affine: Affine, spacing_mm: tuple[float, float, float]
) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine of the grid with `spacing_mm` that starts at the same first voxel centre.

    Its last voxel centre lies inside the old grid, so nothing is extrapolated by more than half
    a voxel.
    """
    scale = np.array(spacing_mm) / np.array(spacing_of(affine))
    new_shape = np.floor((np.array(shape) - 1) / scale + 1e-6).astype(int) + 1
    return tuple(int(n) for n in new_shape), affine @ np.diag([*scale, 1.0])


def resample_nearest(
    segmentation: Segmentation, shape: tuple[int, ...], affine: Affine
) -> Segmentation:
    """The layers on another grid; voxels outside the old grid become background.

    Raises:
        BenchError: the grids are rotated against each other.
    """
    to_old = np.linalg.inv(segmentation.affine) @ affine
    scale = np.diag(to_old)[:3]
    if np.abs(to_old[:3, :3] - np.diag(scale)).max() > 1e-4:
        raise BenchError(
            "the two grids are rotated against each other",
            found=to_old[:3, :3].round(4).tolist(),
            hint="only scaled and shifted grids are resampled",
        )
    index: list[NDArray[np.intp]] = []
    outside: list[NDArray[np.bool_]] = []
    for axis in range(3):
        # Half-way positions go to the lower voxel on every platform.
        position = np.ceil(np.arange(shape[axis]) * scale[axis] + to_old[axis, 3] - 0.5 - 1e-6)
        old = position.astype(np.intp)
        size = segmentation.shape[axis]
        outside.append((old < 0) | (old >= size))
        index.append(np.clip(old, 0, size - 1))
    layers = tuple(_taken(layer, shape, index, outside) for layer in segmentation.layers)
    return Segmentation(layers, affine, segmentation.classes)


def _taken(
    layer: Array,
    shape: tuple[int, ...],
    index: list[NDArray[np.intp]],
    outside: list[NDArray[np.bool_]],
) -> Array:
    """`layer[np.ix_(*index)]`, 0 outside, plane by plane in Fortran order as files hold it."""
    taken = np.zeros(shape, dtype=layer.dtype, order="F")
    for z in np.flatnonzero(~outside[2]):
        # Along y first, which copies whole runs of x.
        rows = np.take(layer[:, :, index[2][z]].T, index[1], axis=0)
        plane = np.take(rows, index[0], axis=1)
        plane[outside[1]] = 0
        plane[:, outside[0]] = 0
        taken[:, :, z] = plane.T
    return taken
