"""The default engine: all classes of a case in as few sweeps as their overlaps allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.grid import Grid, Sources, unsigned_layers
from evaluation.metrics.passes import plan_passes
from evaluation.metrics.planes import plane_layout
from evaluation.metrics.records import ClassPair, Counts
from evaluation.metrics.sweep import sweep
from evaluation.volumes.image_files import Array


@dataclass(frozen=True)
class Swept:
    """What a sweep found of one pass.

    Voxel counts (class in the reference, class in the prediction); surface elements (side, class,
    level, code), the last level being beyond reach; border voxels by class (of the reference, of
    the prediction, of both), if they were asked for; the steps' reach along z, y, x; of either side
    the elements beyond reach; and where surfaces were seen and classes present (see
    `sweep.sweep`).
    """

    joint: NDArray[np.int64]
    elements: NDArray[np.int64]
    borders: NDArray[np.int64]
    reach: tuple[int, ...]
    far: tuple[NDArray[np.int64], NDArray[np.int64]]
    seen: NDArray[np.uint64]
    present: NDArray[np.bool_]

    def borders_of(self, number: int) -> tuple[int, int, int] | None:
        """Border voxels of one class."""
        if not len(self.borders):
            return None
        a, b, both = self.borders[number].tolist()
        return a, b, both


def measure_sweep(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    spacing_mm: tuple[float, float, float],
    tolerances_mm: Sequence[float],
    borders: bool = False,
) -> list[Counts]:
    """Counts of all pairs (see `records.Engine`), with their border voxels if these are wanted.

    Data with one slice only are two-dimensional (`peers.singleton_axis`): the slice is doubled
    and only the corners between the two copies are looked at, which are its contour.
    """
    shape = (reference or prediction)[0].shape
    grid = Grid.of((reference or prediction)[0], spacing_mm)
    tolerances = sorted(set(tolerances_mm))
    steps = grid.steps(tolerances, shape)
    areas = grid.areas()
    levels = [tolerances.index(t) for t in tolerances_mm]
    sides = unsigned_layers(reference, grid), unsigned_layers(prediction, grid)
    found: dict[int, Counts] = {}
    for part in plan_passes(pairs):
        swept = sweep_pass(
            Sources.of(part, sides), steps, len(tolerances), grid.flat, borders=borders
        )
        joint = swept.joint
        # Elements within a tolerance are those of its own level and of all smaller ones.
        surface = (np.cumsum(swept.elements, axis=2) * areas).sum(axis=-1)
        for number, member in enumerate(part.members, start=1):
            found[member] = Counts(
                reference_voxels=int(joint[number].sum()),
                prediction_voxels=int(joint[:, number].sum()),
                intersection_voxels=int(joint[number, number]),
                reference_total=float(surface[0][number, -1]),
                prediction_total=float(surface[1][number, -1]),
                reference_within=tuple(float(surface[0][number, level]) for level in levels),
                prediction_within=tuple(float(surface[1][number, level]) for level in levels),
                borders=swept.borders_of(number),
            )
    return [found[position] for position in range(len(pairs))]


def sweep_pass(
    sources: Sources,
    steps: NDArray[np.int64],
    n_levels: int,
    flat: bool,
    room: int = 0,
    borders: bool = False,
) -> Swept:
    """Sweep all classes of one pass.

    Args:
        sources: the label maps.
        steps: (n, 4), columns dz, dy, dx, level, nearest first.
        n_levels: number of levels.
        flat: the maps are one slice, doubled.
        room: for how many elements beyond reach there is room on either side; 0 notes none.
        borders: count border voxels, too.
    """
    n = sources.n_classes + 1
    n_planes = sources.maps[0].shape[0] + 1
    reach = tuple(int(r) for r in np.abs(steps[:, :3]).max(axis=0))
    joint = np.zeros((n, n), dtype=np.int64)
    elements = np.zeros((2, n, n_levels + 1, 256), dtype=np.int64)
    on_borders = np.zeros((n if borders else 0, 3), dtype=np.int64)
    n_words = plane_layout(sources.maps[0].shape, reach)[3] // 8 if room else 0
    seen = np.zeros((n_planes, -(-n_words // 64)), dtype=np.uint64)
    present = np.zeros((2, n_planes - 1, n), dtype=np.bool_)
    far = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    n_far = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    sweep(
        sources.maps,
        sources.lookups,
        sources.plain,
        sources.top,
        reach,
        steps,
        (1, 1) if flat else (0, n_planes - 1),
        joint,
        (elements[0], elements[1]),
        on_borders,
        (far, n_far, seen, present) if room else None,
    )
    most = max(int(n[0]) for n in n_far)
    if room and most > room:
        return sweep_pass(sources, steps, n_levels, flat, most, borders)
    noted = tuple(f[: int(n[0])] for f, n in zip(far, n_far, strict=True))
    twice = 2 if flat else 1
    return Swept(
        joint // twice, elements, on_borders // twice, reach, (noted[0], noted[1]), seen, present
    )
