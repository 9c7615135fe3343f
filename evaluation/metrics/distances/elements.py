"""Distances between surface elements of all classes of a pair: one sweep, then what is far.

The sweep of `evaluation.metrics.sweep` counts elements by the exact length of the nearest step
that leads to the other surface, for all steps up to about `MOST_STEPS`. What lies further away,
in a good prediction next to nothing, is noted there, and only the classes that it belongs to go
through an exact distance transform on their own box. So the cost does not depend on how far away
things are asked for, and nothing is binned or cut off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.distances.collect import collect_corners
from evaluation.metrics.distances.distribution import Distribution, SurfaceDistances
from evaluation.metrics.distances.transform import Points, nearest_distances
from evaluation.metrics.engine import Swept, sweep_pass
from evaluation.metrics.grid import Grid, Sources, unsigned_layers
from evaluation.metrics.passes import plan_passes
from evaluation.metrics.planes import plane_layout
from evaluation.metrics.records import ClassPair
from evaluation.volumes.image_files import Array

MOST_STEPS = 500
_ROOM_FOR_FAR = 1 << 22
# Surface elements in memory at once, of 12 bytes each; a class of its own may have more.
_BATCH = 1 << 23
# So few elements beyond reach are looked for round the place where they are, in boxes that hold
# together this share of the volume: beyond that, going through all of it once costs less.
_FEW, _SHARE = 1000, 0.25


@dataclass(frozen=True)
class PairDistances:
    """Voxel numbers of a pair of masks and the distances between their surfaces."""

    reference_voxels: int
    prediction_voxels: int
    intersection_voxels: int
    surface: SurfaceDistances
    borders: tuple[int, int, int] | None = None


def distance_steps(
    grid: Grid, shape: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps (dz, dy, dx, level), nearest first, and the length in mm of each level.

    All steps up to some length are there, about `MOST_STEPS` of them, or those that the volume
    has room for.
    """
    sizes = [
        s for axis, s in enumerate(grid.spacing_mm) if not (grid.flat and axis == grid.order[0])
    ]
    if grid.flat:
        radius = math.sqrt(MOST_STEPS / math.pi * math.prod(sizes))
    else:
        radius = (0.75 * MOST_STEPS / math.pi * math.prod(sizes)) ** (1 / 3)
    steps = grid.steps([radius], shape)
    lengths, levels = np.unique(grid.lengths(steps[:, :3]), return_inverse=True)
    steps[:, 3] = levels
    return steps, lengths


def element_distances(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    spacing_mm: tuple[float, float, float],
    borders: bool = False,
) -> list[PairDistances]:
    """Distances of all pairs, in order, between surface elements (see `definitions`).

    Args:
        reference: integer layers (x, y, z).
        prediction: integer layers of the same shape, or none.
        pairs: what to compare with what; a side without a place counts as empty.
        spacing_mm: voxel size along x, y, z in mm.
        borders: count border voxels, too.
    """
    shape = (reference or prediction)[0].shape
    grid = Grid.of((reference or prediction)[0], spacing_mm)
    steps, lengths = distance_steps(grid, shape)
    areas = grid.areas()
    sides = unsigned_layers(reference, grid), unsigned_layers(prediction, grid)
    found: dict[int, PairDistances] = {}
    for part in plan_passes(pairs):
        sources = Sources.of(part, sides)
        swept = sweep_pass(sources, steps, len(lengths), grid.flat, _ROOM_FOR_FAR, borders)
        near = swept.elements @ areas
        far = _far_elements(swept, sources, grid, float(lengths[-1]))
        for number, member in enumerate(part.members, start=1):
            directions = [
                _distribution(lengths, near[side, number], areas, far.get((side, number)))
                for side in (0, 1)
            ]
            found[member] = PairDistances(
                int(swept.joint[number].sum()),
                int(swept.joint[:, number].sum()),
                int(swept.joint[number, number]),
                SurfaceDistances(directions[0], directions[1]),
                swept.borders_of(number),
            )
    return [found[position] for position in range(len(pairs))]


def _distribution(
    lengths: NDArray[np.float64],
    near: NDArray[np.float64],
    areas: NDArray[np.float64],
    far: tuple[NDArray[np.float64], NDArray[np.int64]] | None,
) -> Distribution:
    if far is None:
        # A surface that is everywhere out of reach has nothing to be near to.
        there = near > 0
        return Distribution(np.append(lengths, math.inf)[there], near[there])
    distances, codes = far
    return Distribution.of(
        np.concatenate([lengths, distances]), np.concatenate([near[:-1], areas[codes]])
    )


Far = dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.int64]]]


def _far_elements(swept: Swept, sources: Sources, grid: Grid, reach_mm: float) -> Far:
    """Distance in mm and neighbour code of every element beyond reach, by (side, class)."""
    pad_y, pad_x, stride, size = plane_layout(sources.maps[0].shape, swept.reach)
    # A class with voxels has a surface.
    there = swept.joint.sum(axis=1) > 0, swept.joint.sum(axis=0) > 0
    found: Far = {}
    for side, noted in enumerate(swept.far):
        n_far = swept.elements[side, :, -1].sum(axis=-1)
        wanted = np.flatnonzero((n_far > 0) & there[1 - side]).tolist()
        if not wanted:
            continue
        noted = noted[np.argsort((noted >> 8).astype(np.uint8), kind="stable")]
        z, place = np.divmod(noted >> 16, size)
        y, x = np.divmod(place, stride)
        corners = np.column_stack([z, y - pad_y, x - pad_x]).astype(np.int32)
        ends = np.cumsum(n_far)
        own = {number: slice(ends[number - 1], ends[number]) for number in wanted}
        others = _Surfaces(swept, sources, 1 - side, grid, wanted)
        distances = {}
        for n in wanted:
            if (nearby := others.near(n, corners[own[n]], reach_mm)) is not None:
                distances[n] = nearby
        for batch in batches([n for n in wanted if n not in distances], others.counts):
            targets = others.collect(batch, others.whole)
            for n in batch:
                distances[n] = others.distances(targets[n], corners[own[n]])
        for n in wanted:
            found[side, n] = distances[n], noted[own[n]] & 0xFF
    return found


@dataclass
class _Surfaces:
    """Surfaces of wanted classes of one side, listed where something beyond reach asks for them.

    `counts` are the corners of each class's surface, `room` is how many corners may still be
    looked at in boxes.
    """

    swept: Swept
    sources: Sources
    side: int
    grid: Grid
    wanted: Sequence[int]

    def __post_init__(self) -> None:
        shape = self.sources.maps[0].shape
        self.whole = np.array([(0, 0, 0), shape], dtype=np.int64)
        self.room = _SHARE * math.prod(shape)
        self.counts = np.zeros(256, dtype=np.int64)
        for number in self.wanted:
            self.counts[number] = self.swept.elements[self.side, number].sum()

    def near(self, number: int, corners: Points, reach_mm: float) -> NDArray[np.float64] | None:
        """Distances of a few corners to the surface of a class, if they can be had from nearby.

        A box round the corners is widened until it surely holds the nearest of all.
        """
        away = 2 * reach_mm
        spacing = np.array([self.grid.spacing_mm[axis] for axis in self.grid.order])
        while len(corners) <= _FEW:
            steps = np.ceil(away / spacing).astype(np.int64)
            box = np.array([corners.min(axis=0) - steps, corners.max(axis=0) + steps])
            box = box.clip(*self.whole)
            self.room -= float((box[1] - box[0] + 1).prod())
            if self.room < 0:
                break
            targets = self.collect([number], box)[number]
            if len(targets):
                distances = self.distances(targets, corners)
                if distances.max() <= away or (box == self.whole).all():
                    return distances
                away = float(distances.max())
            else:
                away *= 2
        return None

    def distances(self, targets: Points, corners: Points) -> NDArray[np.float64]:
        """Distance in mm of every corner to the nearest target."""
        return nearest_distances(targets, corners, self.grid.spacing_mm, self.grid.order)

    def collect(self, classes: Sequence[int], box: NDArray[np.int64]) -> dict[int, Points]:
        """Corners (z, y, x) of the surfaces of some classes in a box, ascending."""
        slots = np.zeros(256, dtype=np.uint8)
        slots[list(classes)] = np.arange(1, len(classes) + 1)
        starts = np.cumsum([0, *(self.counts[c] for c in classes)])
        places = np.empty((int(starts[-1]), 3), dtype=np.int32)
        ends = np.array([0, *starts[:-1]], dtype=np.int64)
        held = self.swept.present[self.side][:, list(classes)].any(axis=1)
        collect_corners(
            self.sources.maps[self.side],
            slots[self.sources.lookups[self.side]],
            self.swept.seen,
            # A corner plane lies between two planes of voxels.
            np.pad(held, (0, 1)) | np.pad(held, (1, 0)),
            box,
            plane_layout(self.sources.maps[0].shape, self.swept.reach),
            ends,
            places,
        )
        return {c: places[starts[i] : ends[i + 1]] for i, c in enumerate(classes)}


def batches(classes: Iterable[int], counts: NDArray[np.int64]) -> list[list[int]]:
    """Classes in groups whose surfaces fit into memory together."""
    batches: list[list[int]] = []
    room = 0
    for number in classes:
        if not batches or counts[number] > room:
            batches.append([])
            room = _BATCH
        batches[-1].append(number)
        room -= int(counts[number])
    return batches
