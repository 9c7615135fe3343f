"""Points as labels of the own grid: none may be lost, neither to resampling nor to a crop's zoom.

Nearest resampling to 1 x 1 x 3 mm keeps 23 % of one-voxel annotations. Here a point goes to its
nearest own voxel, and that voxel's neighbours are marked with it: a zoom that shrinks a crop
samples every 1.4th voxel and would lose most single ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from evaluation.training.grid import Box, GridMap
from evaluation.training.settings import Triple
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace, Part

Points = Mapping[str, NDArray[np.float64]]
"""Native voxel indices (N, 3), fractions allowed, of every class that has points."""
EMPTY: Points = MappingProxyType({})


def points_on(grid: GridMap, points: Points) -> dict[str, NDArray[np.int64]]:
    """The nearest own voxel (N, 3) of every native index, held inside the grid."""
    scale = np.array(grid.native_mm) / np.array(grid.own_mm)
    last = np.array(grid.own_shape) - 1
    return {
        name: np.clip(np.floor(found * scale + 0.5).astype(np.int64), 0, last)
        for name, found in points.items()
    }


def box_of(points: Mapping[str, NDArray[np.int64]]) -> Box | None:
    """The smallest box that holds all points; None without any."""
    if not points:
        return None
    whole = np.concatenate(list(points.values()))
    low, high = whole.min(axis=0).tolist(), whole.max(axis=0).tolist()
    return slice(low[0], high[0] + 1), slice(low[1], high[1] + 1), slice(low[2], high[2] + 1)


def paint_points(
    points: Mapping[str, NDArray[np.int64]], shape: Triple, first_layer: int
) -> tuple[list[Array], dict[str, ClassPlace]]:
    """Layers (X, Y, Z) of points with their neighbours, and where each class lies.

    Classes whose voxels meet go to different layers, the first one with room.

    Args:
        points: voxels (N, 3) of the volume.
        shape: of the volume.
        first_layer: number of the first of these layers.
    """
    layers: list[NDArray[np.uint16]] = []
    places = {}
    for value, (name, voxels) in enumerate(sorted(points.items()), start=1):
        boxes = [tuple(slice(max(0, v - 1), v + 2) for v in voxel) for voxel in voxels.tolist()]
        free = (i for i, layer in enumerate(layers) if not any(layer[box].any() for box in boxes))
        if (index := next(free, len(layers))) == len(layers):
            layers.append(np.zeros(shape, dtype=np.uint16))
        for box in boxes:
            layers[index][box] = value
        part = Part(layer=first_layer + index, values=(value,))
        places[name] = ClassPlace(kind="annotated", parts=(part,))
    return list(layers), places
