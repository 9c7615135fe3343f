"""Keypoints: places that a re-sampled, re-scaled, cropped or noisy copy of a scan still has.

Extrema of a difference of Gaussians on isotropic grids of fixed steps; the neighbourhood of
each becomes ranks (any increasing change of intensities keeps them), is turned into a frame of
its own (any flip or permutation of the axes keeps it) and is coded by the signs of its lowest
cosine coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.audit.grids import (
    SMOOTHING,
    IsotropicGrid,
    Triple,
    coarser,
    isotropic,
)
from evaluation.audit.symmetry import BASIS, CODE_BITS, GATHERS, SIDE, symmetry_index
from evaluation.metrics.compiled import compiled
from evaluation.volumes.image_files import Array

STEPS_MM = (1.0, 2.0, 4.0)
FINEST_BELOW_LITRES = 1.5
MIDDLE_BELOW_LITRES = 70.0
SLICES_PER_STEP = 4.5
FEWEST_SAMPLES = 9

INNER, OUTER = 1.4, 2.2
FLOOR = 0.03
APART = 6
PATCH_STEP = 1.9
MARGIN = 4
FEWEST_RANKS = 20
AMBIGUOUS = 0.15
MOST_VARIANTS = 3

CODE_BYTES = CODE_BITS // 8


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of one scan.

    Args:
        position_mm: (n, 3) float32 in the scan's axes; its first voxel's centre is 0.
        octave: (n,) uint8, index into `STEPS_MM`.
        symmetry: (n,) uint8, frame of the keypoint.
        ambiguous: (n,) uint8, bit v set if variant v of the frame is as likely.
        code: (n, 12) uint8, packed signs.
    """

    position_mm: NDArray[np.float32]
    octave: NDArray[np.uint8]
    symmetry: NDArray[np.uint8]
    ambiguous: NDArray[np.uint8]
    code: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.octave)


def octaves_of(shape: tuple[int, ...], spacing_mm: Triple) -> list[int]:
    """Which of `STEPS_MM` suit a scan: by field of view, slice step and number of samples."""
    sides = [(n - 1) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    litres = float(np.prod([n * mm for n, mm in zip(shape, spacing_mm, strict=True)])) / 1e6
    limits = (FINEST_BELOW_LITRES, MIDDLE_BELOW_LITRES, np.inf)
    return [
        index
        for index, (step, limit) in enumerate(zip(STEPS_MM, limits, strict=True))
        if litres < limit
        and step >= max(spacing_mm) / SLICES_PER_STEP
        and min(sides) >= (FEWEST_SAMPLES - 1) * step
    ]


def find_keypoints(array: Array, spacing_mm: Triple) -> Keypoints:
    """Keypoints of a scan in all octaves that suit it.

    Args:
        array: (x, y, z).
        spacing_mm: true voxel size; a wrong one makes keypoints useless.

    Returns:
        Possibly none: a thin or constant scan has no keypoints.
    """
    found: list[Keypoints] = []
    grid: IsotropicGrid | None = None
    for octave in octaves_of(array.shape, spacing_mm):
        step = STEPS_MM[octave]
        if grid is None:
            grid = isotropic(array, spacing_mm, step)
        else:
            grid = coarser(grid, round(step / grid.step_mm))
        found.append(_of_grid(grid, octave))
    if not found:
        none = np.empty(0, dtype=np.uint8)
        empty = np.empty((0, 3), dtype=np.float32)
        return Keypoints(empty, none, none, none, np.empty((0, CODE_BYTES), dtype=np.uint8))
    return Keypoints(
        np.concatenate([k.position_mm for k in found]),
        np.concatenate([k.octave for k in found]),
        np.concatenate([k.symmetry for k in found]),
        np.concatenate([k.ambiguous for k in found]),
        np.concatenate([k.code for k in found]),
    )


def _of_grid(grid: IsotropicGrid, octave: int) -> Keypoints:
    inner = ndimage.gaussian_filter(
        np.ascontiguousarray(grid.values), np.sqrt(INNER**2 - SMOOTHING**2), truncate=3.0
    )
    outer = ndimage.gaussian_filter(inner, np.sqrt(OUTER**2 - INNER**2), truncate=3.0)
    difference = inner - outer
    places = _extrema(difference, MARGIN)
    strength = np.abs(difference[tuple(places.T)])
    if len(places):
        strong = strength >= max(FLOOR * float(np.quantile(strength, 0.9)), 1e-12)
        places, strength = places[strong], strength[strong]
    places = places[np.argsort(-strength, kind="stable")]
    places = places[_far_apart(places, difference.shape, _ball(APART))]
    exact, ranks, n_ranks = _patches(inner, difference, places, PATCH_STEP, SIDE)
    told = n_ranks >= FEWEST_RANKS
    exact, ranks = exact[told], ranks[told]
    order, negative, ambiguous = _frames(ranks)
    symmetry = symmetry_index(order, negative)
    canonical = np.take_along_axis(ranks, GATHERS[symmetry], axis=1)
    code = np.packbits(canonical @ BASIS > 0, axis=1)
    position = exact * grid.step_mm + np.array(grid.origin_mm)
    return Keypoints(
        position.astype(np.float32),
        np.full(len(exact), octave, dtype=np.uint8),
        symmetry.astype(np.uint8),
        ambiguous,
        code,
    )


def _ball(radius: int) -> NDArray[np.int64]:
    line = np.arange(-radius, radius + 1)
    offsets = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(offsets[(offsets**2).sum(axis=1) <= radius**2])


def _frames(
    ranks: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.uint8]]:
    """Axis order and signs by the first moment of the ranks; and which variants are as likely."""
    line = np.arange(SIDE) - SIDE // 2
    axes = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    moment = ranks.astype(np.float64) @ axes
    size = np.abs(moment)
    order = np.argsort(-size, axis=1, kind="stable")
    ordered = np.take_along_axis(size, order, axis=1)
    negative = np.take_along_axis(moment, order, axis=1) < 0
    largest = np.maximum(ordered[:, 0], 1e-9)
    doubt = (
        np.stack(
            [
                ordered[:, 0] - ordered[:, 1],
                ordered[:, 1] - ordered[:, 2],
                ordered[:, 2],
                ordered[:, 1],
            ],
            axis=1,
        )
        / largest[:, None]
    )
    rank = np.argsort(np.argsort(doubt, axis=1, kind="stable"), axis=1)
    likely = (doubt < AMBIGUOUS) & (rank < MOST_VARIANTS)
    return order, negative, (likely @ np.array([1, 2, 4, 8])).astype(np.uint8)


@compiled
def _extrema(d: Any, margin: int) -> Any:
    """Voxels whose |d| exceeds that of all 26 neighbours, as (n, 3) indices."""
    n0, n1, n2 = d.shape
    found = np.empty((1024, 3), dtype=np.int64)
    n = 0
    for i in range(margin, n0 - margin):
        for j in range(margin, n1 - margin):
            for k in range(margin, n2 - margin):
                v = abs(d[i, j, k])
                if v <= abs(d[i, j, k - 1]) or v <= abs(d[i, j, k + 1]):
                    continue
                highest = True
                for a in range(-1, 2):
                    for b in range(-1, 2):
                        for c in range(-1, 2):
                            if (a or b or c) and abs(d[i + a, j + b, k + c]) >= v:
                                highest = False
                                break
                        if not highest:
                            break
                    if not highest:
                        break
                if not highest:
                    continue
                if n == found.shape[0]:
                    larger = np.empty((2 * n, 3), dtype=np.int64)
                    larger[:n] = found
                    found = larger
                found[n, 0] = i
                found[n, 1] = j
                found[n, 2] = k
                n += 1
    return found[:n]


@compiled
def _far_apart(places: Any, shape: Any, ball: Any) -> Any:
    """Keep a place unless an earlier (stronger) one that was kept lies in its ball."""
    taken = np.zeros(shape, dtype=np.bool_)
    keep = np.zeros(places.shape[0], dtype=np.bool_)
    for m in range(places.shape[0]):
        i, j, k = places[m]
        if taken[i, j, k]:
            continue
        keep[m] = True
        for q in range(ball.shape[0]):
            a, b, c = i + ball[q, 0], j + ball[q, 1], k + ball[q, 2]
            if 0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= c < shape[2]:
                taken[a, b, c] = True
    return keep


@compiled
def _patches(image: Any, d: Any, places: Any, step: float, side: int) -> Any:
    """Exact positions, rank patches (ties share their mean rank) and numbers of different ranks."""
    n = places.shape[0]
    size = side**3
    exact = np.empty((n, 3), dtype=np.float64)
    ranks = np.empty((n, size), dtype=np.float32)
    n_ranks = np.zeros(n, dtype=np.int64)
    values = np.empty(size, dtype=np.float32)
    for m in range(n):
        i, j, k = places[m]
        here = d[i, j, k]
        for axis in range(3):
            if axis == 0:
                low, high = d[i - 1, j, k], d[i + 1, j, k]
            elif axis == 1:
                low, high = d[i, j - 1, k], d[i, j + 1, k]
            else:
                low, high = d[i, j, k - 1], d[i, j, k + 1]
            bend = low - 2 * here + high
            shift = 0.5 * (low - high) / bend if bend != 0 else 0.0
            exact[m, axis] = places[m, axis] + max(-0.5, min(0.5, shift))
        p = 0
        for a in range(side):
            x = exact[m, 0] + (a - side // 2) * step
            for b in range(side):
                y = exact[m, 1] + (b - side // 2) * step
                for c in range(side):
                    z = exact[m, 2] + (c - side // 2) * step
                    values[p] = _between(image, x, y, z)
                    p += 1
        order = np.argsort(values)
        begin = 0
        while begin < size:
            end = begin + 1
            while end < size and values[order[end]] == values[order[begin]]:
                end += 1
            for q in range(begin, end):
                ranks[m, order[q]] = 0.5 * (begin + end - 1)
            n_ranks[m] += 1
            begin = end
    return exact, ranks, n_ranks


@compiled
def _between(image: Any, x: float, y: float, z: float) -> float:
    """Trilinear interpolation; positions are clamped to the grid."""
    n0, n1, n2 = image.shape
    x = max(0.0, min(n0 - 1.0, x))
    y = max(0.0, min(n1 - 1.0, y))
    z = max(0.0, min(n2 - 1.0, z))
    i, j, k = min(int(x), n0 - 2), min(int(y), n1 - 2), min(int(z), n2 - 2)
    u, v, w = x - i, y - j, z - k
    total = 0.0
    for a in range(2):
        wa = u if a else 1 - u
        for b in range(2):
            wb = v if b else 1 - v
            total += wa * wb * (image[i + a, j + b, k] * (1 - w) + image[i + a, j + b, k + 1] * w)
    return total
