"""Distances between border voxels of all classes of a pair, and boundary IoU.

These are what other tools measure (see `definitions`); they take several times as long as surface
elements, because every border voxel goes through the exact transform.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.distances.borders import count_bands, list_borders
from evaluation.metrics.distances.definitions import DefinitionName
from evaluation.metrics.distances.distribution import Distribution, SurfaceDistances
from evaluation.metrics.distances.elements import batches
from evaluation.metrics.distances.transform import Points, nearest_distances
from evaluation.metrics.grid import Grid, Sources, is_plain, unsigned_layers
from evaluation.metrics.passes import plan_passes
from evaluation.metrics.records import ClassPair
from evaluation.volumes.image_files import Array


def voxel_distances(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    spacing_mm: tuple[float, float, float],
    definition: DefinitionName,
) -> list[SurfaceDistances]:
    """Distances of all pairs, in order, between border voxels.

    Args:
        reference: integer layers (x, y, z).
        prediction: integer layers of the same shape, or none.
        pairs: what to compare with what; a side without a place counts as empty.
        spacing_mm: voxel size along x, y, z in mm.
        definition: `voxel-larger` or `voxel-pooled`.
    """
    grid = Grid.of((reference or prediction)[0], spacing_mm)
    sides = unsigned_layers(reference, grid), unsigned_layers(prediction, grid)
    found: dict[int, SurfaceDistances] = {}
    for part in plan_passes(pairs):
        sources = Sources.of(part, sides)
        numbers = range(1, len(part.members) + 1)
        counts = [_borders(sources, side, list(numbers), grid.flat)[0] for side in (0, 1)]
        for batch in batches(numbers, counts[0] + counts[1]):
            points = [_listed(sources, side, batch, counts[side], grid.flat) for side in (0, 1)]
            for number in batch:
                a, b = (side[number] for side in points)
                found[part.members[number - 1]] = SurfaceDistances(
                    _direction(a, b, grid), _direction(b, a, grid), definition
                )
    return [found[position] for position in range(len(pairs))]


def _direction(points: Points, others: Points, grid: Grid) -> Distribution:
    if len(points) and len(others):
        distances = nearest_distances(others, points, grid.spacing_mm, grid.order)
    else:
        distances = np.full(len(points), math.inf)
    return Distribution.of(distances, np.ones(len(points)))


def _borders(
    sources: Sources,
    side: int,
    classes: Sequence[int],
    flat: bool,
    places: Points | None = None,
    starts: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], Points]:
    """Numbers of border voxels of some classes, by class, and their places if there is room."""
    slots = np.zeros(256, dtype=np.uint8)
    slots[list(classes)] = np.arange(1, len(classes) + 1)
    lookup = slots[sources.lookups[side]]
    n_found = np.zeros(len(classes) + 1, dtype=np.int64) if starts is None else starts
    places = np.empty((0, 3), dtype=np.int32) if places is None else places
    source = sources.maps[side]
    planes = (0, 0) if flat else (0, source.shape[0] - 1)
    top = source.dtype.type(lookup.max())
    list_borders(source, lookup, is_plain(lookup), top, planes, flat, n_found, places)
    return n_found, places


def _listed(
    sources: Sources, side: int, classes: Sequence[int], counts: NDArray[np.int64], flat: bool
) -> dict[int, Points]:
    """Border voxels (z, y, x) of some classes of one side, ascending."""
    ends = np.cumsum([0, *(counts[c] for c in classes)])
    places = np.empty((int(ends[-1]), 3), dtype=np.int32)
    if len(places):
        _borders(sources, side, classes, flat, places, np.array([0, *ends[:-1]], dtype=np.int64))
    return {c: places[ends[i] : ends[i + 1]] for i, c in enumerate(classes)}


def boundary_ious(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    distance_voxels: float,
) -> list[float]:
    """Boundary IoU of all pairs, in order: the IoU of the bands of voxels along both borders.

    A band holds the voxels of a mask that are nearer than `distance_voxels` to a border voxel of
    the same mask, itself at distance 0 (Cheng et al. 2021; as Metrics Reloaded computes it).
    Distances are in voxels, whatever the spacing. NaN where both masks are empty.

    Args:
        reference: integer layers (x, y, z).
        prediction: integer layers of the same shape, or none.
        pairs: what to compare with what.
        distance_voxels: above 0; 1 takes the border voxels only.
    """
    grid = Grid.of((reference or prediction)[0], (1.0, 1.0, 1.0))
    reach = math.ceil(distance_voxels) - 1
    ranges = [range(-r, r + 1) for r in ((0 if grid.flat else reach), reach, reach)]
    steps = np.array(list(itertools.product(*ranges)), dtype=np.int64)
    lengths = np.sqrt((steps**2).sum(axis=1))
    steps = steps[np.argsort(lengths, kind="stable")]
    steps = steps[np.sort(lengths) < distance_voxels]
    sides = unsigned_layers(reference, grid), unsigned_layers(prediction, grid)
    found: dict[int, float] = {}
    for part in plan_passes(pairs):
        sources = Sources.of(part, sides)
        counts = np.zeros((sources.n_classes + 1, 3), dtype=np.int64)
        last = 0 if grid.flat else sources.maps[0].shape[0] - 1
        count_bands(
            sources.maps, sources.lookups, sources.plain, sources.top, (0, last), grid.flat, steps,
            counts,
        )  # fmt: skip
        for number, member in enumerate(part.members, start=1):
            a, b, both = counts[number].tolist()
            found[member] = both / (a + b - both) if a + b else math.nan
    return [found[position] for position in range(len(pairs))]
