"""Distances between the surfaces of two plain masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.distances.elements import element_distances
from evaluation.metrics.distances.voxels import voxel_distances
from evaluation.metrics.records import ClassPair
from evaluation.volumes.segmentation import ClassPlace, Part

_MASK = ClassPlace(kind="direct", parts=(Part(layer=0, values=(1,)),))


def mask_distances(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    definition: DefinitionName = DEFAULT_DEFINITION,
) -> SurfaceDistances:
    """Distances between the surfaces of two masks (x, y, z), in a named definition.

    Args:
        reference: boolean mask.
        prediction: boolean mask of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        definition: of surfaces and their distances (see `definitions`).
    """
    layers = [reference.view(np.uint8)], [prediction.view(np.uint8)]
    pairs = [ClassPair("mask", _MASK, _MASK)]
    x, y, z = (float(s) for s in spacing_mm)
    if definition == DEFAULT_DEFINITION:
        return element_distances(*layers, pairs, (x, y, z))[0].surface
    return voxel_distances(*layers, pairs, (x, y, z), definition)[0]
