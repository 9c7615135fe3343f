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
from evaluation.metrics.distances.nearby import nearby
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
# So few elements beyond reach are looked for where they are.
_FEW = 256


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
        return Distribution.of(np.append(lengths, math.inf), near)
    distances, codes = far
    return Distribution.of(
        np.concatenate([lengths, distances]), np.concatenate([near[:-1], areas[codes]])
    )


Far = dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.int64]]]


def _far_elements(swept: Swept, sources: Sources, grid: Grid, reach_mm: float) -> Far:
    """Distance in mm and neighbour code of every element beyond reach, by (side, class)."""
    pad_y, pad_x, stride, size = layout = plane_layout(sources.maps[0].shape, swept.reach)
    counts = swept.elements.sum(axis=(2, 3))
    found: Far = {}
    for side, noted in enumerate(swept.far):
        n_far = swept.elements[side, :, -1].sum(axis=-1)
        wanted = np.flatnonzero((n_far > 0) & (counts[1 - side] > 0)).tolist()
        if not wanted:
            continue
        noted = noted[np.argsort((noted >> 8).astype(np.uint8), kind="stable")]
        z, place = np.divmod(noted >> 16, size)
        y, x = np.divmod(place, stride)
        corners = np.column_stack([z, y - pad_y, x - pad_x]).astype(np.int32)
        distances = np.full(len(noted), np.inf)
        if len(noted) <= _FEW:
            nearby(
                sources.maps[1 - side],
                sources.lookups[1 - side],
                corners,
                (noted >> 8).astype(np.uint8),
                np.array([grid.spacing_mm[axis] for axis in grid.order]),
                (grid.order.index(0), grid.order.index(1), grid.order.index(2)),
                2 * reach_mm,
                distances,
            )
        ends = np.cumsum(n_far)
        own = {number: slice(ends[number - 1], ends[number]) for number in wanted}
        still = [number for number in wanted if np.isinf(distances[own[number]]).any()]
        for batch in batches(still, counts[1 - side]):
            targets = _collect(sources, 1 - side, batch, counts[1 - side], swept, layout)
            for number in batch:
                distances[own[number]] = nearest_distances(
                    targets[number], corners[own[number]], grid.spacing_mm, grid.order
                )
        for number in wanted:
            found[side, number] = distances[own[number]], noted[own[number]] & 0xFF
    return found


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


def _collect(
    sources: Sources,
    side: int,
    classes: Sequence[int],
    counts: NDArray[np.int64],
    swept: Swept,
    layout: tuple[int, int, int, int],
) -> dict[int, Points]:
    """Corners (z, y, x) of the surfaces of some classes of one side, ascending."""
    slots = np.zeros(256, dtype=np.uint8)
    slots[list(classes)] = np.arange(1, len(classes) + 1)
    ends = np.cumsum([0, *(counts[c] for c in classes)])
    places = np.empty((int(ends[-1]), 3), dtype=np.int32)
    next_place = np.array([0, *ends[:-1]], dtype=np.int64)
    held = swept.present[side][:, list(classes)].any(axis=1)
    # A corner plane lies between two planes of voxels.
    planes = np.pad(held, (0, 1)) | np.pad(held, (1, 0))
    collect_corners(
        sources.maps[side],
        slots[sources.lookups[side]],
        swept.seen,
        planes,
        layout,
        next_place,
        places,
    )
    return {c: places[ends[i] : ends[i + 1]] for i, c in enumerate(classes)}
