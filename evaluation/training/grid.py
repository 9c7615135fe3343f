"""A network's own grid: from the native grid and back, and the intensities on it.

Voxel j of the own grid lies at native index j * own / native along each axis, so the first voxels
of both grids coincide and no axis is turned. Arrays are (x, y, z) in RAS-closest orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import psutil
from numpy.typing import NDArray

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.training.settings import Grid, Millimetres, Triple
from evaluation.volumes.image_files import Affine, Array

Box = tuple[slice, slice, slice]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class GridMap:
    """Where the voxels of the own grid lie in the native one.

    Args:
        native_shape: voxels of the native grid along x, y, z.
        native_mm: its voxel size in mm.
        own_mm: voxel size of the own grid in mm.
    """

    native_shape: Triple
    native_mm: Millimetres
    own_mm: Millimetres

    @property
    def own_shape(self) -> Triple:
        """Voxels of the own grid: the whole native extent, rounded to the nearest voxel."""
        x, y, z = (
            round((n - 1) * s / o) + 1
            for n, s, o in zip(self.native_shape, self.native_mm, self.own_mm, strict=True)
        )
        return x, y, z

    def own_affine(self, native: Affine) -> Affine:
        """Affine (4, 4) of the own grid, given the native one."""
        affine = native.copy()
        affine[:3, :3] *= np.array(self.own_mm) / np.array(self.native_mm)
        return affine

    def native_index(self, axis: int) -> NDArray[np.float64]:
        """Native index (a fraction) of every own voxel along an axis, held inside the volume."""
        step = self.own_mm[axis] / self.native_mm[axis]
        index = np.arange(self.own_shape[axis]) * step
        return np.clip(index, 0, self.native_shape[axis] - 1)

    def own_index(self, axis: int) -> NDArray[np.float64]:
        """Own index (a fraction) of every native voxel along an axis, held inside the grid."""
        step = self.native_mm[axis] / self.own_mm[axis]
        index = np.arange(self.native_shape[axis]) * step
        return np.clip(index, 0, self.own_shape[axis] - 1)


def linear_neighbours(
    index: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Lower and upper neighbour of fractional indices, and the weight of the upper one."""
    low = np.minimum(np.floor(index).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return low, high, (index - low).astype(np.float32)


def resample_image(array: Array, grid: GridMap) -> Floats:
    """The image on the own grid by trilinear interpolation (paper: bilinear), float32.

    Raises:
        BenchError: it does not fit into memory; the spacing of one of the grids is then wrong.
    """
    _require_memory(grid)
    out: Floats = array.astype(np.float32, copy=False)
    for axis in (2, 1, 0):
        low, high, weight = linear_neighbours(grid.native_index(axis), out.shape[axis])
        if len(low) == out.shape[axis] and not weight.any():
            continue
        shape = [1, 1, 1]
        shape[axis] = len(weight)
        upper = weight.reshape(shape)
        out = out.take(low, axis) * (1 - upper) + out.take(high, axis) * upper
    return out


def _require_memory(grid: GridMap) -> None:
    shape, largest = list(grid.native_shape), prod(grid.native_shape)
    for axis in (2, 1, 0):
        shape[axis] = grid.own_shape[axis]
        largest = max(largest, prod(shape))
    # Two neighbours and what is made of them, four bytes each.
    needed, free = 12 * largest, psutil.virtual_memory().available
    if needed > free:
        raise BenchError(
            "the image does not fit into memory on the grid of the network",
            found=f"{needed / 1e9:.1f} GB: {_sides(grid.native_shape)} voxels of "
            f"{_sides(grid.native_mm)} mm become {_sides(grid.own_shape)} of "
            f"{_sides(grid.own_mm)} mm",
            expected=f"at most the {free / 1e9:.1f} GB that are free",
            hint="check the spacing in the image's header: are its units mm?",
        )


def _sides(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def resample_labels(layer: Array, grid: GridMap) -> Array:
    """A label layer on the own grid by nearest neighbour; its data type stays."""
    index = [np.floor(grid.native_index(axis) + 0.5).astype(np.int64) for axis in range(3)]
    for axis in range(3):
        np.minimum(index[axis], layer.shape[axis] - 1, out=index[axis])
    picked: Array = layer[np.ix_(*index)]
    return picked


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box that holds all true voxels, or None if there is none."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(found):
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return box[0], box[1], box[2]


def crop_and_normalise(
    image: Floats, modality: Modality, settings: Grid, *, keep: Box | None = None
) -> tuple[Floats, Box]:
    """Crop to the box of image > `crop_above`, clip and standardise (SAT's paper, section 4.2).

    CT is clipped to HU, by default [-500, 1000], every other modality to its percentiles,
    background included; then the cropped volume gets mean 0 and deviation 1. The box is extended to
    hold `keep`.

    Returns:
        The normalised crop (float32) and its box in the own grid.

    Raises:
        BenchError: a voxel is not a number, nothing lies above the threshold, or the crop is
            constant.
    """
    if not np.isfinite(image).all():
        raise BenchError("the image holds voxels that are not numbers (NaN or infinite)")
    x, y, z = image.shape
    box: Box | None = slice(0, x), slice(0, y), slice(0, z)
    if settings.crop_above is not None:
        box = bounding_box(image > settings.crop_above)
    if box is None:
        raise BenchError(
            f"the image has no voxel above {settings.crop_above:g}: nothing to segment",
            found=f"values from {image.min():g} to {image.max():g}",
            hint="check that the file is the image and that its modality is right",
        )
    if keep is not None:
        x_side, y_side, z_side = map(_joined, box, keep)
        box = x_side, y_side, z_side
    crop = image[box]
    low, high = settings.ct_clip_hu
    # PET as MR: its uptake has no common scale over centres either.
    if modality != "ct":
        low, high = (float(v) for v in np.percentile(crop, settings.mri_percentiles))
    crop = crop.clip(low, high)
    # Float64 sums: MR intensities reach millions.
    mean, deviation = float(crop.mean(dtype=np.float64)), float(crop.std(dtype=np.float64))
    if deviation <= 1e-6 * max(abs(mean), 1e-6):
        raise BenchError("the image is constant after clipping", found=f"value {mean:g}")
    crop = ((crop - mean) / deviation).astype(np.float32)
    if settings.rescale_unit:
        crop = (crop - crop.min()) / (crop.max() - crop.min())
    return crop, box


def _joined(a: slice, b: slice) -> slice:
    return slice(min(a.start, b.start), max(a.stop, b.stop))


def triple(values: Sequence[int]) -> Triple:
    """Three whole numbers, such as a volume's shape, as a tuple of plain ints."""
    x, y, z = (int(v) for v in values)
    return x, y, z


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple that is at least `size`."""
    return -(-size // multiple) * multiple


def padded_shape(shape: Triple, patch: Triple, stride: Triple, whole_patch: bool) -> Triple:
    """A crop's size: the patch, or less where the volume is smaller and need not be filled up.

    At least two voxels are left at the bottleneck, one more than its norm could do without.
    """
    if whole_patch:
        return patch
    sizes = [min(p, round_up(n, s)) for n, p, s in zip(shape, patch, stride, strict=True)]
    if tuple(sizes) == stride:
        axis = next(a for a in range(3) if patch[a] > stride[a])
        sizes[axis] += stride[axis]
    return sizes[0], sizes[1], sizes[2]
