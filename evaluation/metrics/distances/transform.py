"""The exact distance of some points of a lattice to the nearest of others, plane by plane.

It is a separable distance transform (Felzenszwalb and Huttenlocher 2012) that asks only for what
is wanted: planes without a wanted point are left out, and of each plane only one is in memory.

1. In every line across the planes, the nearest other point is followed from plane to plane.
2. In the plane, every row gets the lower envelope of its parabolas.
3. A wanted point goes through the rows, nearest first, until none can be nearer.

What comes back are steps, not distances, so that a distance is computed by the same expression
everywhere: multiplied by the spacing, squared, added in axis order, square root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.compiled import compiled

Points = NDArray[np.int32]


def nearest_distances(
    targets: Points, wanted: Points, spacing_mm: Sequence[float], order: Sequence[int]
) -> NDArray[np.float64]:
    """Distance in mm of every wanted point to the nearest target.

    Args:
        targets: (n, 3), at least one, sorted by the first column, then the second, the third.
        wanted: (m, 3).
        spacing_mm: distance of neighbours along each axis of the data, in the data's axis order.
        order: the data's axis of each column.
    """
    if not len(wanted):
        return np.empty(0)
    low = np.minimum(targets.min(axis=0), wanted.min(axis=0))
    size = [int(n) for n in np.maximum(targets.max(axis=0), wanted.max(axis=0)) - low + 1]
    volume = size[0] * size[1] * size[2]
    planes = [np.count_nonzero(np.bincount(column)) for column in (wanted - low).T]
    # Other planes than those across the last column need sorted targets, which must pay.
    cost = [planes[c] * (volume // size[c]) * (1 if c == 2 else 2) for c in range(3)]
    across = cost.index(min(cost))
    columns = [c for c in range(3) if c != across] + [across]
    turned, asked = ((p - low)[:, columns] for p in (targets, wanted))
    rows, width, depth = (size[c] for c in columns)
    lines = turned[:, 0].astype(np.int64) * width + turned[:, 1]
    if across != 2:
        by_line = np.lexsort((turned[:, 2], lines))
        turned, lines = turned[by_line], lines[by_line]
    starts = np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=rows * width))])
    found = np.empty((len(wanted), 3), dtype=np.int32)
    nearest_steps(
        np.ascontiguousarray(turned[:, 2]),
        starts,
        (rows, width, depth),
        asked,
        np.array([spacing_mm[order[c]] for c in columns]),
        found,
    )
    steps = np.empty((len(wanted), 3))
    for column, c in enumerate(columns):
        steps[:, order[c]] = found[:, column]
    squares = (steps * np.asarray(spacing_mm, dtype=np.float64)) ** 2
    return np.asarray(np.sqrt((squares[:, 0] + squares[:, 1]) + squares[:, 2]))


@compiled
def group_by_plane(wanted: Any, n_planes: int) -> Any:
    """The points of each plane (last column): where they start, and their numbers in order."""
    starts = np.zeros(n_planes + 1, dtype=np.int64)
    for q in range(wanted.shape[0]):
        starts[wanted[q, 2] + 1] += 1
    for plane in range(n_planes):
        starts[plane + 1] += starts[plane]
    at = starts[:-1].copy()
    members = np.empty(wanted.shape[0], dtype=np.int64)
    for q in range(wanted.shape[0]):
        members[at[wanted[q, 2]]] = q
        at[wanted[q, 2]] += 1
    return starts, members


@compiled
def nearest_steps(
    targets: Any, starts: Any, shape: Any, wanted: Any, weights: Any, found: Any
) -> None:
    """Steps to the nearest target of every wanted point.

    Args:
        targets: int32 (n), the last coordinate of all targets, line by line, ascending.
        starts: int64 (rows * columns + 1), the first target of each line.
        shape: rows and columns of a plane, and number of planes.
        wanted: int32 (m, 3): row, column, plane.
        weights: float64 (3), distance of neighbours along row, column, plane.
        found: int32 (m, 3), to be filled with absolute steps.
    """
    rows, columns, planes = shape
    w_a, w_b, w_c = weights
    at = starts[:-1].copy()
    # Of a plane: for each row and each wanted column the squared distance within row and line,
    # and its steps.
    square = np.empty((rows, columns), dtype=np.float64)
    step_b = np.empty((rows, columns), dtype=np.int32)
    step_c = np.empty((rows, columns), dtype=np.int32)
    asked = np.empty(columns, dtype=np.int64)
    slots = np.empty(columns, dtype=np.int64)
    height = np.empty(columns, dtype=np.float64)
    away = np.empty(columns, dtype=np.int32)
    place = np.empty(columns, dtype=np.int64)
    start = np.empty(columns + 1, dtype=np.float64)
    firsts, members = group_by_plane(wanted, planes)
    for plane in range(planes):
        if firsts[plane] == firsts[plane + 1]:
            continue
        slots[:] = -1
        for q in members[firsts[plane] : firsts[plane + 1]]:
            slots[wanted[q, 1]] = 0
        n_asked = 0
        for column in range(columns):
            if slots[column] == 0:
                slots[column] = n_asked
                asked[n_asked] = column
                n_asked += 1
        for a in range(rows):
            n = 0
            for b in range(columns):
                line = a * columns + b
                stop = starts[line + 1]
                if starts[line] == stop:
                    continue
                t = at[line]
                while t + 1 < stop and abs(targets[t + 1] - plane) <= abs(targets[t] - plane):
                    t += 1
                at[line] = t
                step = abs(targets[t] - plane)
                h = (step * w_c) ** 2
                # Lower envelope of the parabolas h + (w_b (x - b))^2.
                s = -np.inf
                while n > 0:
                    p = place[n - 1]
                    s = ((h - height[n - 1]) / (w_b * w_b) + (b * b - p * p)) / (2.0 * (b - p))
                    if s > start[n - 1]:
                        break
                    n -= 1
                if n == 0:
                    s = -np.inf
                place[n] = b
                height[n] = h
                away[n] = step
                start[n] = s
                n += 1
            if n == 0:
                for j in range(n_asked):
                    square[a, j] = np.inf
                continue
            start[n] = np.inf
            e = 0
            for j in range(n_asked):
                while start[e + 1] < asked[j]:
                    e += 1
                step = abs(asked[j] - place[e])
                step_b[a, j] = step
                step_c[a, j] = away[e]
                square[a, j] = (step * w_b) ** 2 + height[e]
        for q in members[firsts[plane] : firsts[plane + 1]]:
            j = slots[wanted[q, 1]]
            row = wanted[q, 0]
            best = np.inf
            for step in range(rows):
                here = (step * w_a) ** 2
                if here >= best:
                    break
                for a in (row - step, row + step):
                    if 0 <= a < rows and here + square[a, j] < best:
                        best = here + square[a, j]
                        found[q, 0] = step
                        found[q, 1] = step_b[a, j]
                        found[q, 2] = step_c[a, j]
