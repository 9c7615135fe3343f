"""Connected components of masks and label maps, and what one pass over them tells.

This is the only place that calls `connected-components-3d`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.metrics.compiled import compiled
from evaluation.metrics.instances.rules import Connectivity
from evaluation.volumes.image_files import Array

Labels = NDArray[np.integer[Any]]
Ints = NDArray[np.int64]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Components:
    """Instances of one side: a label map of their numbers and facts of each.

    Instance i (from 0) has the value `numbers[i]` in `labels`; facts are of all of its voxels.
    """

    labels: Labels
    numbers: Ints
    voxels: Ints
    boxes: tuple[Box, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def mask(self, instances: list[int], box: Box) -> NDArray[np.bool_]:
        """The mask of some instances within a box."""
        return np.isin(self.labels[box], self.numbers[instances])

    def some(self, wanted: NDArray[np.bool_]) -> Components:
        """Only those instances."""
        boxes = tuple(box for box, want in zip(self.boxes, wanted, strict=True) if want)
        return Components(self.labels, self.numbers[wanted], self.voxels[wanted], boxes)


def connected(labels: Array, connectivity: Connectivity = 26) -> Components:
    """Connected components of a mask, or of every value of a label map by itself.

    Args:
        labels: boolean mask or non-negative integers (x, y, z); 0 is background.
        connectivity: voxels that touch in a face (6), also in an edge (18), also in a corner (26)
            belong together.

    Returns:
        Components in the order of their first voxels in C order.
    """
    if connectivity not in (6, 18, 26):
        raise BenchError(
            "connectivity is unusable", found=connectivity, expected="6 (faces), 18 or 26"
        )
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    return drawn(cc3d.connected_components(labels, connectivity=connectivity))


def drawn(labels: Labels) -> Components:
    """The instances of a label map as they are, in the order of their first voxels in C order.

    Args:
        labels: non-negative integers (x, y, z); 0 is background, every other value an instance.
    """
    highest = int(labels.max(initial=0))
    voxels = np.zeros(highest + 1, dtype=np.int64)
    first = np.full(highest + 1, labels.size, dtype=np.int64)
    boxes = np.zeros((highest + 1, 3, 2), dtype=np.int64)
    boxes[:, :, 0] = max(labels.shape)
    order = np.argsort([-abs(stride) for stride in labels.strides], kind="stable")
    weights = np.array([labels.shape[1] * labels.shape[2], labels.shape[2], 1])
    note_components(labels.transpose(order), weights[order], voxels, first, boxes)
    boxes[:, order] = boxes.copy()
    present = np.flatnonzero(voxels)
    numbers = present[np.argsort(first[present])]
    found = tuple(
        (slice(x[0], x[1]), slice(y[0], y[1]), slice(z[0], z[1]))
        for x, y, z in boxes[numbers].tolist()
    )
    return Components(labels, numbers, voxels[numbers], found)


def joint_voxels(reference: Components, prediction: Components) -> Ints:
    """Overlapping pairs: rows of reference instance, prediction instance, common voxels."""
    sides = []
    for side in (reference, prediction):
        index = np.full(int(side.labels.max(initial=0)) + 1, -1, dtype=np.int64)
        index[side.numbers] = np.arange(len(side))
        sides.append(index)
    order = np.argsort([-abs(stride) for stride in reference.labels.strides], kind="stable")
    a, b = (side.labels.transpose(order) for side in (reference, prediction))
    n_runs = count_runs(a, b, sides[0], sides[1], np.empty((0, 3), dtype=np.int64))
    runs = np.empty((n_runs, 3), dtype=np.int64)
    count_runs(a, b, sides[0], sides[1], runs)
    keys, place = np.unique(runs[:, 0] * max(len(prediction), 1) + runs[:, 1], return_inverse=True)
    common = np.bincount(place, runs[:, 2], len(keys)).astype(np.int64)
    return np.column_stack([*np.divmod(keys, max(len(prediction), 1)), common])


@compiled
def note_components(labels: Any, weights: Any, voxels: Any, first: Any, boxes: Any) -> None:
    """Number of voxels, first voxel and box of every value; run by run."""
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            k = 0
            while k < labels.shape[2]:
                label = labels[i, j, k]
                start = k
                while k < labels.shape[2] and labels[i, j, k] == label:
                    k += 1
                if label == 0:
                    continue
                voxels[label] += k - start
                place = i * weights[0] + j * weights[1] + start * weights[2]
                first[label] = min(first[label], place)
                box = boxes[label]
                box[0, 0], box[0, 1] = min(box[0, 0], i), max(box[0, 1], i + 1)
                box[1, 0], box[1, 1] = min(box[1, 0], j), max(box[1, 1], j + 1)
                box[2, 0], box[2, 1] = min(box[2, 0], start), max(box[2, 1], k)


@compiled
def count_runs(a: Any, b: Any, index_a: Any, index_b: Any, runs: Any) -> int:
    """Write down runs of equal pairs of instances: numbers and length; return how many."""
    n = 0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            k = 0
            while k < a.shape[2]:
                label_a, label_b = a[i, j, k], b[i, j, k]
                start = k
                while k < a.shape[2] and a[i, j, k] == label_a and b[i, j, k] == label_b:
                    k += 1
                if label_a == 0 or label_b == 0:
                    continue
                number_a, number_b = index_a[label_a], index_b[label_b]
                if number_a < 0 or number_b < 0:
                    continue
                if runs.shape[0]:
                    runs[n, 0], runs[n, 1], runs[n, 2] = number_a, number_b, k - start
                n += 1
    return n
