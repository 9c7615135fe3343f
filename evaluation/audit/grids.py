"""Scans on isotropic grids: smoothing and sampling by one operator for each axis.

Grids are centred in the field of view, so that a flipped scan has the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.audit.sketch import as_lines
from evaluation.metrics.compiled import compiled
from evaluation.volumes.image_files import Array

SMOOTHING = 0.7
"""Standard deviation of the Gaussian that comes with the sampling, in steps of the grid."""

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class IsotropicGrid:
    """A scan sampled at equal steps.

    Args:
        values: (x, y, z) float32.
        step_mm: distance of the samples.
        origin_mm: position of the first sample, where the centre of the scan's first voxel is 0
            and the axes are the scan's.
    """

    values: Floats
    step_mm: float
    origin_mm: Triple


def isotropic(array: Array, spacing_mm: Triple, step_mm: float) -> IsotropicGrid:
    """Sample a scan on an isotropic grid with Gaussian smoothing of 0.7 steps.

    Args:
        array: (x, y, z).
        spacing_mm: voxel size.
        step_mm: step of the grid.
    """
    return _resampled(array, spacing_mm, step_mm, (0.0, 0.0, 0.0), SMOOTHING * step_mm)


def coarser(grid: IsotropicGrid, factor: int = 2) -> IsotropicGrid:
    """The same scan at a multiple of the step, with the smoothing that belongs to it."""
    step = grid.step_mm * factor
    extra = SMOOTHING * float(np.sqrt(step**2 - grid.step_mm**2))
    spacing = (grid.step_mm, grid.step_mm, grid.step_mm)
    return _resampled(grid.values, spacing, step, grid.origin_mm, extra)


def _resampled(
    array: Array, spacing: Triple, step: float, origin: Triple, sigma: float
) -> IsotropicGrid:
    lines = as_lines(array)
    start: list[float] = []
    # Axes of `lines` are z, y, x; each is brought to the middle of a (before, axis, after) view.
    for axis, (offset, mm) in enumerate(zip(origin[::-1], spacing[::-1], strict=True)):
        first, weights, begin = _operator(lines.shape[axis], mm, step, sigma)
        before = int(np.prod(lines.shape[:axis]))
        after = int(np.prod(lines.shape[axis + 1 :]))
        shape = (*lines.shape[:axis], len(first), *lines.shape[axis + 1 :])
        if after == 1:
            matrix = np.zeros((len(first), lines.shape[axis]), dtype=np.float32)
            for row, (at, w) in enumerate(zip(first.tolist(), weights, strict=True)):
                matrix[row, at : at + w.size] = w
            lines = lines @ matrix.T
        else:
            view = lines.reshape(before, lines.shape[axis], after)
            lines = _blend(view, first, weights).reshape(shape)
        start.append(offset + begin)
    x, y, z = reversed(start)
    return IsotropicGrid(lines.T, step, (x, y, z))


def _operator(
    n: int, spacing: float, step: float, sigma: float
) -> tuple[NDArray[np.int64], Floats, float]:
    """For each sample the first voxel and the weights of it and its followers; and the begin."""
    length = (n - 1) * spacing
    n_out = int(length / step + 1e-6) + 1
    begin = (length - (n_out - 1) * step) / 2
    n_nodes = max(15, 2 * ceil(6 * sigma / spacing) + 1)
    nodes = np.linspace(-3 * sigma, 3 * sigma, n_nodes)
    shares = np.exp(-0.5 * (nodes / sigma) ** 2)
    shares /= shares.sum()
    at = np.clip((begin + np.arange(n_out)[:, None] * step + nodes) / spacing, 0, n - 1)
    low = np.minimum(at.astype(np.int64), max(n - 2, 0))
    part = at - low
    first = low.min(axis=1)
    taps = min(n, int((low - first[:, None]).max()) + 2)
    first = np.minimum(first, n - taps)
    weights = np.zeros((n_out, taps))
    rows = np.broadcast_to(np.arange(n_out)[:, None], low.shape)
    np.add.at(weights, (rows, low - first[:, None]), (1 - part) * shares)
    if n > 1:
        np.add.at(weights, (rows, low + 1 - first[:, None]), part * shares)
    return first, weights.astype(np.float32), begin


@compiled
def _blend(a: Any, first: Any, weights: Any) -> Any:
    """Weighted sums along the middle axis of (before, axis, after)."""
    before, _, after = a.shape
    n, taps = weights.shape
    out = np.zeros((before, n, after), dtype=np.float32)
    block = 8192
    for p in range(before):
        for lo in range(0, after, block):
            hi = min(after, lo + block)
            for i in range(n):
                for t in range(taps):
                    w = weights[i, t]
                    if w == 0:
                        continue
                    j = first[i] + t
                    for q in range(lo, hi):
                        out[p, i, q] += w * a[p, j, q]
    return out
