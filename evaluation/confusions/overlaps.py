"""Voxels that each class of a prediction shares with each class of its reference.

Counted in one pass over each pair of label layers, so that 24 vertebrae cost as much as two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.compiled import compiled
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import Segmentation

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class VoxelOverlaps:
    """Voxels by class, in the order of `names`.

    Attributes:
        names: classes of both segmentations.
        reference: (n,) voxels of each class in the reference.
        prediction: (n,) voxels of each class in the prediction.
        both: (n, n) voxels that the prediction of the first class shares with the reference of
            the second.
    """

    names: tuple[str, ...]
    reference: Counts
    prediction: Counts
    both: Counts


def count_overlaps(
    reference: Segmentation, prediction: Segmentation, names: Sequence[str]
) -> VoxelOverlaps:
    """Overlaps of classes that both segmentations hold, on one grid.

    Raises:
        BenchError: a class is in one of them only.
    """
    n = len(names)
    both = np.zeros((n, n), dtype=np.int64)
    sizes = np.zeros((2, n), dtype=np.int64)
    layers = [_by_layer(side, names) for side in (reference, prediction)]
    for a in layers[0]:
        for b in layers[1]:
            joint = np.zeros((a.n_values + 1, b.n_values + 1), dtype=np.int64)
            _count(a.voxels, b.voxels, a.lookup, b.lookup, joint)
            for i, rows in a.classes.items():
                sizes[0, i] = joint[rows].sum()
                for k, columns in b.classes.items():
                    both[k, i] = joint[np.ix_(rows, columns)].sum()
            for k, columns in b.classes.items():
                sizes[1, k] = joint[:, columns].sum()
    return VoxelOverlaps(tuple(names), sizes[0], sizes[1], both)


class _Layer:
    """A layer with some of the classes: their values are numbered from 1, all others are 0."""

    def __init__(self, layer: Array, values: Mapping[int, Sequence[int]]) -> None:
        plain = layer if layer.dtype in (np.uint8, np.uint16) else layer.astype(np.uint16)
        # Fortran order is how volumes come: no copy.
        self.voxels = plain.ravel(order="F")
        wanted = sorted({value for found in values.values() for value in found})
        self.n_values = len(wanted)
        self.lookup = np.zeros(np.iinfo(plain.dtype).max + 1, dtype=np.uint16)
        self.lookup[wanted] = np.arange(1, len(wanted) + 1)
        self.classes = {i: self.lookup[list(found)].tolist() for i, found in values.items()}


def _by_layer(segmentation: Segmentation, names: Sequence[str]) -> list[_Layer]:
    """The layers that hold some of the classes, which have their positions in `names`.

    A class with parts in several layers gets a layer of its own: parts may share voxels.
    """
    held: dict[int, dict[int, Sequence[int]]] = {}
    alone = []
    for position, name in enumerate(names):
        place = segmentation.classes.get(name)
        if place is not None and len(place.parts) == 1:
            held.setdefault(place.parts[0].layer, {})[position] = place.parts[0].values
        else:
            alone.append(_Layer(segmentation.mask(name).astype(np.uint8), {position: (1,)}))
    return [_Layer(segmentation.layers[n], values) for n, values in held.items()] + alone


@compiled
def _count(a: Any, b: Any, lookup_a: Any, lookup_b: Any, joint: Any) -> None:
    """Add 1 for every voxel at (number in a, number in b)."""
    for i in range(a.size):
        joint[lookup_a[a[i]], lookup_b[b[i]]] += 1
