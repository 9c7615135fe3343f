"""The check of a candidate pair: align the two scans, then compare them place by place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from evaluation.audit.grids import Floats, IsotropicGrid, isotropic
from evaluation.audit.keypoints import STEPS_MM, octaves_of
from evaluation.audit.matching import Match
from evaluation.audit.scans import Scan
from evaluation.volumes.image_files import Volume

NEIGHBOURHOOD = 13
"""Side, in steps, of the window in which mean and contrast are removed."""

N_POINTS = 3000
N_BLOCKS = 80
BLOCK = 8
MOVES = (4.0, 2.0, 1.0, 0.5, 0.25)
LEAST_COVER = 0.02

Points = NDArray[np.float64]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Agreement:
    """How well two scans agree after alignment.

    Args:
        correlation: locally normalised correlation over the common field of view, -1..1.
        covered: share of the smaller scan's textured places that lie in the other, 0..1.
        weakest: 10 % quantile of the correlation within blocks of 8 steps: copies of one scan
            agree everywhere, two scans of one heart do not.
    """

    correlation: float
    covered: float
    weakest: float


@dataclass(frozen=True)
class Prepared:
    """A scan as the check needs it: sampled, mean and contrast removed, contrast kept aside."""

    grid: IsotropicGrid
    contrast: Floats


NOTHING = Agreement(float("nan"), 0.0, float("nan"))


def finest_step(volume: Volume) -> float:
    """Finest grid step that suits a scan, in mm (the coarsest one if none does)."""
    octaves = octaves_of(volume.array.shape, volume.spacing_mm)
    return STEPS_MM[octaves[0]] if octaves else STEPS_MM[-1]


def prepare(volume: Volume, step_mm: float) -> Prepared:
    """Sample a scan and normalise it locally."""
    grid = isotropic(volume.array, volume.spacing_mm, step_mm)
    values = np.ascontiguousarray(grid.values)
    mean = ndimage.uniform_filter(values, NEIGHBOURHOOD)
    centred = values - mean
    contrast = np.sqrt(np.maximum(ndimage.uniform_filter(centred**2, NEIGHBOURHOOD), 0))
    floor = 1e-3 * float(contrast.max()) + 1e-12
    normalised = (centred / np.maximum(contrast, np.float32(floor))).astype(np.float32)
    return Prepared(IsotropicGrid(normalised, grid.step_mm, grid.origin_mm), contrast)


class Checker:
    """Checks pairs; a few loaded scans are kept, because one scan is often in several pairs."""

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._volumes: dict[str, Volume] = {}
        self._prepared: dict[tuple[str, float], Prepared] = {}

    def check(self, first: Scan, second: Scan, match: Match) -> Agreement:
        """Agreement of two scans from the alignment that their keypoints voted for.

        Raises:
            BenchError: one of them can no longer be read.
        """
        step = max(finest_step(self._volume(first)), finest_step(self._volume(second)))
        return agreement(
            self._sampled(first, step), self._sampled(second, step), match.turn, match.shift_mm
        )

    def _volume(self, scan: Scan) -> Volume:
        if scan.name not in self._volumes:
            _make_room(self._volumes, self._keep)
            self._volumes[scan.name] = scan.load()
        return self._volumes[scan.name]

    def _sampled(self, scan: Scan, step: float) -> Prepared:
        if (scan.name, step) not in self._prepared:
            _make_room(self._prepared, self._keep)
            self._prepared[scan.name, step] = prepare(self._volume(scan), step)
        return self._prepared[scan.name, step]


def _make_room(kept: dict[K, V], most: int) -> None:
    """Drop the oldest; dictionaries remember the order."""
    while len(kept) >= most:
        del kept[next(iter(kept))]


def agreement(
    first: Prepared, second: Prepared, turn: NDArray[np.int64], shift_mm: NDArray[np.float64]
) -> Agreement:
    """Align `second` to `first` from a start, and compare.

    Args:
        first: a scan on a grid.
        second: another one on a grid of the same step.
        turn: (3, 3) flip and permutation from the axes of `second` to those of `first`.
        shift_mm: position of `second`'s origin in `first`.
    """
    matrix, shift = turn.astype(np.float64), np.asarray(shift_mm, dtype=np.float64)
    if first.grid.values.size < second.grid.values.size:
        first, second = second, first
        matrix, shift = matrix.T, -matrix.T @ shift
    # From here on `second` is the smaller scan, and its places are looked up in `first`.
    rng = np.random.default_rng(0)
    places = _textured(second.contrast, N_POINTS, rng)
    if len(places) == 0:
        return NOTHING
    values = second.grid.values[tuple(places.T)].astype(np.float64)
    start = _in_mm(places, second.grid) @ matrix.T + shift
    centre = start.mean(axis=0)
    radius = float(np.sqrt(((start - centre) ** 2).sum(axis=1).mean())) + 1e-9
    step = first.grid.step_mm

    def moved(points: Points, motion: NDArray[np.float64]) -> Points:
        turned = Rotation.from_rotvec(motion[3:] / radius).apply(points - centre)
        return np.asarray(turned + centre + motion[:3])

    def score(motion: NDArray[np.float64]) -> float:
        return _correlation(values, _look_up(first.grid, moved(start, motion)))[0]

    motion = np.zeros(6)
    best = score(motion)
    for size in MOVES:
        improved = True
        while improved:
            improved = False
            for axis, sign in product(range(6), (1, -1)):
                trial = motion.copy()
                trial[axis] += sign * size * step
                value = score(trial)
                if value > best + 1e-4:
                    motion, best, improved = trial, value, True
    correlation, covered = _correlation(values, _look_up(first.grid, moved(start, motion)))
    weakest = _weakest_block(
        first.grid,
        second,
        places,
        lambda cells: moved(_in_mm(cells, second.grid) @ matrix.T + shift, motion),
        rng,
    )
    return Agreement(float(correlation), float(covered), weakest)


def _textured(contrast: Floats, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random places where the contrast is above the median of what is not flat."""
    marked = contrast > 0.01 * float(contrast.max())
    if not marked.any():
        return np.empty((0, 3), dtype=np.int64)
    level = float(np.median(contrast[marked]))
    flat = np.flatnonzero(contrast >= level)
    chosen = rng.choice(flat, min(n, flat.size), replace=False)
    return np.stack(np.unravel_index(chosen, contrast.shape), axis=1)


def _in_mm(places: NDArray[np.int64], grid: IsotropicGrid) -> Points:
    return np.asarray(places * grid.step_mm + np.array(grid.origin_mm))


def _look_up(grid: IsotropicGrid, points_mm: Points) -> NDArray[np.float64]:
    """Values at points; NaN outside."""
    at = (points_mm - np.array(grid.origin_mm)) / grid.step_mm
    return np.asarray(
        ndimage.map_coordinates(
            grid.values, at.T, output=np.float64, order=1, mode="constant", cval=np.nan
        )
    )


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Correlation over the places where both are there, and their share."""
    there = np.isfinite(b)
    covered = float(there.mean())
    if covered < LEAST_COVER:
        return -1.0, covered
    x, y = a[there], b[there]
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return (float((x * y).sum()) / size if size > 0 else -1.0), covered


def _weakest_block(
    grid: IsotropicGrid,
    second: Prepared,
    places: NDArray[np.int64],
    to_first: Callable[[NDArray[np.int64]], Points],
    rng: np.random.Generator,
) -> float:
    """10 % quantile of the correlation within blocks around textured places."""
    line = np.arange(0, BLOCK, 2) - BLOCK // 2 + 1
    block = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    middles = places[rng.permutation(len(places))[:N_BLOCKS]]
    cells = middles[:, None, :] + block
    inside = ((cells >= 0) & (cells < np.array(second.contrast.shape))).all(axis=-1)
    cells = np.clip(cells, 0, np.array(second.contrast.shape) - 1)
    other = _look_up(grid, to_first(cells.reshape(-1, 3))).reshape(inside.shape)
    mine = second.grid.values[tuple(np.moveaxis(cells, -1, 0))].astype(np.float64)
    found = []
    usable = inside & np.isfinite(other)
    for row in range(len(usable)):
        there, a, b = usable[row], mine[row], other[row]
        if there.sum() < 12:
            continue
        x, y = a[there] - a[there].mean(), b[there] - b[there].mean()
        size = float(np.sqrt((x * x).sum() * (y * y).sum()))
        found.append(float((x * y).sum()) / size if size > 0 else 0.0)
    return float(np.quantile(found, 0.1)) if len(found) >= 5 else float("nan")
