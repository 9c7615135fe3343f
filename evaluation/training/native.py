"""From the own grid to native masks: interpolate what is smooth, threshold on the native grid."""

from __future__ import annotations

import mmap
import os
import tempfile
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.errors import BenchError
from evaluation.training.grid import Box, GridMap, bounding_box, linear_neighbours
from evaluation.training.settings import Triple
from evaluation.volumes.image_files import Affine
from evaluation.volumes.segmentation import ClassPlace, Kind, Part, Segmentation

SMALLEST_PROBABILITY = 1e-6
LAYERS_IN_MEMORY = 8


def decision_map(probability: Tensor, interpolate: str) -> Tensor:
    """What is interpolated and then compared with zero: logit, or probability minus a half."""
    if interpolate == "probability":
        return probability - 0.5
    return torch.logit(probability.double(), eps=SMALLEST_PROBABILITY).float()


def to_native(
    decision: Tensor, origin: Triple, grid: GridMap
) -> tuple[Box, NDArray[np.bool_]] | None:
    """Interpolate a decision map trilinearly to the native grid and threshold it there at zero.

    Args:
        decision: (X, Y, Z) on a crop of the own grid, positive inside the structure.
        origin: first voxel of the crop in the own grid.
        grid: both grids.

    Returns:
        A box of the native grid and the mask in it; everything outside is background. None if
        nothing is positive. Only native voxels within half an own voxel of the crop get an
        answer.
    """
    found = bounding_box((decision > 0).numpy())
    if found is None:
        return None
    # An interpolated value can only be positive beside a positive voxel.
    place = _interpolated(decision, origin, grid, found)
    if place is None:
        return None
    mask: NDArray[np.bool_] = (place[1] > 0).numpy()
    return place[0], mask


def _interpolated(
    values: Tensor, origin: Triple, grid: GridMap, around: Box
) -> tuple[Box, Tensor] | None:
    """Values (X, Y, Z) on a crop of the own grid at all native voxels beside a box of the crop."""
    out, box = values, []
    for axis in range(3):
        index = grid.own_index(axis) - origin[axis]
        inside = (index > around[axis].start - 1) & (index < around[axis].stop)
        inside &= (index >= -0.5) & (index <= values.shape[axis] - 0.5)
        chosen = np.flatnonzero(inside)
        if not len(chosen):
            return None
        box.append(slice(int(chosen[0]), int(chosen[-1]) + 1))
        size = values.shape[axis]
        lower, upper, weight = linear_neighbours(index[chosen].clip(0, size - 1), size)
        shape = [1, 1, 1]
        shape[axis] = len(chosen)
        out = torch.lerp(
            out.index_select(axis, torch.from_numpy(lower)),
            out.index_select(axis, torch.from_numpy(upper)),
            torch.from_numpy(weight).view(shape),
        )
    return (box[0], box[1], box[2]), out


class LabelMap:
    """The largest of some decision maps at every native voxel, one map at a time.

    Only native voxels within half an own voxel of the crop get an answer; the others keep 0.

    Args:
        origin: first voxel of the crop in the own grid.
        grid: both grids.
    """

    def __init__(self, origin: Triple, grid: GridMap) -> None:
        self._origin, self._grid = origin, grid
        self.labels: NDArray[np.uint8] = np.zeros(grid.native_shape, dtype=np.uint8)
        self._best: Tensor | None = None

    def add(self, label: int, decision: Tensor) -> None:
        """Interpolate a map (X, Y, Z) trilinearly; where it wins, voxels get its label."""
        x, y, z = decision.shape
        # One voxel more on each side: voxels half a voxel outside of the crop count, too.
        whole = slice(-1, x + 1), slice(-1, y + 1), slice(-1, z + 1)
        place = _interpolated(decision, self._origin, self._grid, whole)
        if place is None:
            return
        box, values = place
        if self._best is None:
            self._best = torch.full_like(values, -torch.inf)
        better = values > self._best
        self._best = torch.where(better, values, self._best)
        self.labels[box][better.numpy()] = label


class LayerPacker:
    """Packs masks, which may overlap, one at a time into as few layers as a greedy rule finds.

    The same rule as `evaluation.cases.pack_masks`, without ever holding all masks. Organs fill a
    few layers; hundreds of prompts that all overlap fill one each, so from the ninth on a layer
    lives in a scratch file that disappears with the array.
    """

    def __init__(self, shape: Triple) -> None:
        self._shape = shape
        self._layers: list[NDArray[np.uint8]] = []
        self._mappings: list[mmap.mmap] = []
        self._used: list[int] = []
        self._classes: dict[str, ClassPlace] = {}

    def add(self, name: str, kind: Kind, place: tuple[Box, NDArray[np.bool_]] | None) -> None:
        """Add a class by its mask in a box, or as empty (None); it keeps a value of its own."""
        number = len(self._layers)
        for index, layer in enumerate(self._layers):
            if self._used[index] < 255 and _is_free(layer, place):
                number = index
                break
        else:
            self._layers.append(self._new_layer())
            self._used.append(0)
        self._used[number] += 1
        value = self._used[number]
        if place is not None:
            box, mask = place
            self._layers[number][box][mask] = value
        for mapping in self._mappings:
            # The pages stay in the file; this process need not hold them.
            mapping.madvise(mmap.MADV_DONTNEED)
        self._classes[name] = ClassPlace(kind=kind, parts=(Part(layer=number, values=(value,)),))

    def segmentation(self, affine: Affine) -> Segmentation:
        """Everything added so far."""
        layers = self._layers or [np.zeros(self._shape, dtype=np.uint8)]
        return Segmentation(tuple(layers), affine, dict(self._classes))

    def _new_layer(self) -> NDArray[np.uint8]:
        if len(self._layers) < LAYERS_IN_MEMORY:
            return np.zeros(self._shape, dtype=np.uint8)
        with tempfile.TemporaryFile(prefix="satbench-layer-") as stream:
            # Reserved now: a full disk is an error here, and a killed process when written later.
            reserve(stream.fileno(), prod(self._shape))
            mapping = mmap.mmap(stream.fileno(), prod(self._shape))
        self._mappings.append(mapping)
        return np.frombuffer(mapping, dtype=np.uint8).reshape(self._shape)


def reserve(descriptor: int, size: int) -> None:
    """Reserve bytes of a scratch file.

    Raises:
        BenchError: the disk of temporary files has no room for them.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise scratch_is_full(error) from error


def scratch_is_full(error: OSError) -> BenchError:
    """What to tell when a scratch file cannot be written."""
    return BenchError(
        "a scratch file cannot be written",
        file=tempfile.gettempdir(),
        found=str(error),
        hint="free some space, or name a larger disk in the environment variable TMPDIR",
    )


def _is_free(layer: NDArray[np.uint8], place: tuple[Box, NDArray[np.bool_]] | None) -> bool:
    """Whether no voxel of the mask is taken; slice by slice, as most overlaps show early."""
    if place is None:
        return True
    box, mask = place
    part = layer[box]
    # From the middle: there masks are widest.
    order = sorted(range(len(mask)), key=lambda x: abs(2 * x - len(mask)))
    return not any(part[x][mask[x]].any() for x in order)
