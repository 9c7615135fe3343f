"""The exact distance of some points of a lattice to the nearest of others, plane by plane.

It is a separable distance transform (Felzenszwalb and Huttenlocher 2012) that asks only for what
is wanted: planes without a wanted point are left out, and of each plane only one is in memory.

1. In every line across the planes, the nearest other point is followed from plane to plane.
2. In the plane, every row gets the lower envelope of its parabolas.
3. A wanted point goes through the rows, nearest first, until none can be nearer.

The distance of the nearest one is then computed anew from the steps that lead to it, by the same
expression as everywhere: multiplied by the spacing, squared, added in axis order, square root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.compiled import compiled

Points = NDArray[np.int32]
# To sort targets takes about as long as to go through so many planes.
_SORTING = 40


def nearest_distances(
    targets: Points, wanted: Points, spacing_mm: Sequence[float], order: tuple[int, int, int]
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
    targets, wanted = np.ascontiguousarray(targets), np.ascontiguousarray(wanted)
    low, high = bounds(targets, wanted)
    planes = [np.count_nonzero(np.bincount(column)) for column in (wanted - low).T]
    # Planes across another column than the last need targets in another order.
    cost = [n + (0 if c == 2 else _SORTING) for c, n in enumerate(planes)]
    across = cost.index(min(cost))
    columns = [c for c in range(3) if c != across] + [across]
    if across != 2:
        targets = targets[np.lexsort((targets[:, across], targets[:, columns[1]]))]
        targets = targets[np.argsort(targets[:, columns[0]], kind="stable")]
    axes = columns[0], columns[1], columns[2]
    rows, width, depth = (int(high[c] - low[c]) + 1 for c in columns)
    found = np.empty(len(wanted))
    last, starts, line_columns, row_lines = lines_of(targets, low, axes, rows)
    nearest(
        last,
        starts,
        line_columns,
        row_lines,
        (rows, width, depth),
        np.ascontiguousarray((wanted - low)[:, columns]),
        np.array([spacing_mm[order[c]] for c in columns]),
        (
            columns.index(order.index(0)),
            columns.index(order.index(1)),
            columns.index(order.index(2)),
        ),
        found,
    )
    return found


@compiled
def bounds(targets: Any, wanted: Any) -> Any:
    """Lowest and highest coordinates of all points."""
    low, high = wanted[0].copy(), wanted[0].copy()
    for points in (targets, wanted):
        for i in range(points.shape[0]):
            for c in range(3):
                low[c] = min(low[c], points[i, c])
                high[c] = max(high[c], points[i, c])
    return low, high


@compiled
def lines_of(targets: Any, low: Any, axes: Any, rows: int) -> Any:
    """Targets line by line, as `nearest` wants them; they are sorted by these axes."""
    n = targets.shape[0]
    last = np.empty(n, dtype=np.int32)
    starts = np.empty(n + 1, dtype=np.int64)
    line_columns = np.empty(n, dtype=np.int64)
    row_lines = np.zeros(rows + 1, dtype=np.int64)
    n_lines = 0
    row, column = -1, -1
    for i in range(n):
        a, b = targets[i, axes[0]] - low[axes[0]], targets[i, axes[1]] - low[axes[1]]
        if a != row or b != column:
            row, column = a, b
            starts[n_lines] = i
            line_columns[n_lines] = b
            row_lines[a + 1] += 1
            n_lines += 1
        last[i] = targets[i, axes[2]] - low[axes[2]]
    starts[n_lines] = n
    for a in range(rows):
        row_lines[a + 1] += row_lines[a]
    return last, starts[: n_lines + 1], line_columns[:n_lines], row_lines


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
def nearest(
    targets: Any,
    starts: Any,
    line_columns: Any,
    row_lines: Any,
    shape: Any,
    wanted: Any,
    weights: Any,
    axes: Any,
    found: Any,
) -> None:
    """Distance to the nearest target of every wanted point.

    Args:
        targets: int32 (n), the last coordinate of all targets, line by line, ascending.
        starts: int64 (lines + 1), the first target of each line that holds any.
        line_columns: int64 (lines), its column.
        row_lines: int64 (rows + 1), the first such line of each row.
        shape: rows and columns of a plane, and number of planes.
        wanted: int32 (m, 3): row, column, plane.
        weights: float64 (3), distance of neighbours along row, column, plane.
        axes: which of row, column, plane is the data's first axis, the second, the third.
        found: float64 (m), to be filled.
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
    way = np.empty(3, dtype=np.float64)
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
            for line in range(row_lines[a], row_lines[a + 1]):
                b = line_columns[line]
                stop = starts[line + 1]
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
                        way[0] = here
                        way[1] = (step_b[a, j] * w_b) ** 2
                        way[2] = (step_c[a, j] * w_c) ** 2
            found[q] = np.sqrt((way[axes[0]] + way[axes[1]]) + way[axes[2]])
