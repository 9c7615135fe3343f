"""Instances of reference and prediction side by side: which overlap, and how well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.distances.masks import mask_distances
from evaluation.metrics.instances.components import (
    Box,
    Components,
    Ints,
    Labels,
    connected,
    drawn,
    joint_voxels,
)
from evaluation.metrics.instances.rules import Connectivity
from evaluation.volumes.image_files import Array

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class InstancePair:
    """Instances of both sides on one grid.

    `overlaps` has a row for each pair that shares voxels: reference instance, prediction instance
    (both from 0), common voxels.
    """

    reference: Components
    prediction: Components
    overlaps: Ints
    spacing_mm: tuple[float, float, float]

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return math.prod(self.spacing_mm)

    def scores(self, measure: str) -> Floats:
        """`IoU` or `DSC` of every row of `overlaps`."""
        r, p, both = self.overlaps.T
        total = self.reference.voxels[r] + self.prediction.voxels[p]
        return np.asarray(both / (total - both) if measure == "IoU" else 2 * both / total)

    def masks(self, r: int, predicted: Sequence[int]) -> tuple[Mask, Mask]:
        """A reference instance and the union of some predicted ones, on the box of them all."""
        box = joined_box([self.reference.boxes[r], *(self.prediction.boxes[p] for p in predicted)])
        return self.reference.mask([r], box), self.prediction.mask(list(predicted), box)

    def surface(
        self,
        r: int,
        predicted: Sequence[int],
        definition: DefinitionName = DEFAULT_DEFINITION,
        solid: bool = False,
    ) -> SurfaceDistances:
        """Distances between a reference instance and the union of some predicted ones.

        An instance in one slice of a volume is a solid. In data of one slice it is a contour,
        unless `solid` is set.
        """
        a, b = self.masks(r, predicted)
        if solid or 1 not in self.reference.labels.shape:
            a, b = np.pad(a, 1), np.pad(b, 1)
        return mask_distances(a, b, self.spacing_mm, definition)

    def overlap(self, r: int, predicted: Sequence[int]) -> tuple[float, float]:
        """IoU and DSC of a reference instance and the union of some predicted ones."""
        rows = (self.overlaps[:, 0] == r) & np.isin(self.overlaps[:, 1], predicted)
        both = int(self.overlaps[rows, 2].sum())
        total = int(self.reference.voxels[r] + self.prediction.voxels[list(predicted)].sum())
        return both / (total - both), 2 * both / total


def joined_box(boxes: Sequence[Box]) -> Box:
    """The box of several boxes."""
    x, y, z = (
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes))
        for axis in range(3)
    )
    return x, y, z


def pair_instances(
    reference: Array,
    prediction: Array,
    spacing_mm: Sequence[float],
    connectivity: tuple[Connectivity | None, Connectivity | None] = (26, 26),
) -> InstancePair:
    """Instances of two masks, or of two maps of instances.

    Args:
        reference: boolean mask (x, y, z), or integers where `connectivity` is None.
        prediction: the same, of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        connectivity: of the components of reference and prediction; None takes every value of a
            map as an instance, as it was drawn.

    Raises:
        BenchError: shapes differ or are not three-dimensional.
    """
    if reference.shape != prediction.shape or reference.ndim != 3:
        raise BenchError(
            "reference and prediction are not volumes of one shape",
            found=(reference.shape, prediction.shape),
            expected="the same three numbers of voxels",
        )
    sides = [
        drawn(array) if c is None else connected(array.astype(bool, copy=False), c)
        for array, c in zip((reference, prediction), connectivity, strict=True)
    ]
    x, y, z = (float(s) for s in spacing_mm)
    return InstancePair(sides[0], sides[1], joint_voxels(sides[0], sides[1]), (x, y, z))


def pair_instances_by_class(
    reference: Labels,
    prediction: Labels,
    spacing_mm: Sequence[float],
    classes: Sequence[int],
    connectivity: Connectivity = 26,
) -> dict[int, InstancePair]:
    """Instances of several values of two label maps, labelled in one pass over either map.

    Args:
        reference: non-negative integers (x, y, z).
        prediction: the same, of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        classes: values.
        connectivity: of the components.
    """
    x, y, z = (float(s) for s in spacing_mm)
    sides = [connected(side, connectivity) for side in (reference, prediction)]
    overlaps = joint_voxels(sides[0], sides[1])
    values = [
        _values(side, labels) for side, labels in zip(sides, (reference, prediction), strict=True)
    ]
    pairs = {}
    for value in classes:
        own = [v == value for v in values]
        rows = overlaps[own[0][overlaps[:, 0]] & own[1][overlaps[:, 1]]]
        renumbered = [np.cumsum(o)[rows[:, c]] - 1 for c, o in enumerate(own)]
        a, b = (side.some(o) for side, o in zip(sides, own, strict=True))
        pairs[value] = InstancePair(a, b, np.column_stack([*renumbered, rows[:, 2]]), (x, y, z))
    return pairs


def _values(components: Components, labels: Labels) -> Ints:
    """The value of every component in the label map that it was found in."""
    found = np.empty(len(components), dtype=np.int64)
    for i, box in enumerate(components.boxes):
        inside = components.labels[box] == components.numbers[i]
        found[i] = labels[box][inside][0]
    return found
