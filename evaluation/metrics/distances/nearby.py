"""The nearest surface of a few points that is not far from them, looked for where they are.

For a handful of points this costs less than listing the whole surface (`collect`, `transform`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled


@compiled
def is_surface(source: Any, lookup: Any, label: Any, z: int, y: int, x: int) -> bool:
    """Whether some of the voxels round a corner are of this class and some are not."""
    n = 0
    for k in range(z - 1, z + 1):
        for j in range(y - 1, y + 1):
            for i in range(x - 1, x + 1):
                inside = 0 <= k < source.shape[0] and 0 <= j < source.shape[1]
                if inside and 0 <= i < source.shape[2] and lookup[source[k, j, i]] == label:
                    n += 1
    return 0 < n < 8


@compiled
def nearby(
    source: Any,
    lookup: Any,
    corners: Any,
    labels: Any,
    spacing: Any,
    axes: Any,
    limit: float,
    found: Any,
) -> None:
    """Distance of corners to the nearest surface of their class that is nearer than a limit.

    Args:
        source: label map (z, y, x).
        lookup: class number of every value.
        corners: int32 (n, 3), z, y, x.
        labels: uint8 (n), the class of each.
        spacing: float64 (3), mm along z, y, x.
        axes: which of z, y, x is the data's first axis, the second, the third.
        limit: in mm.
        found: float64 (n), to be filled; infinite where there is none.
    """
    way = np.zeros(3, dtype=np.float64)
    for q in range(corners.shape[0]):
        best = limit * limit
        found[q] = np.inf
        dz = 0
        while (dz * spacing[0]) ** 2 < best:
            for z in (corners[q, 0] - dz, corners[q, 0] + dz):
                dy = 0
                while (dz * spacing[0]) ** 2 + (dy * spacing[1]) ** 2 < best:
                    for y in (corners[q, 1] - dy, corners[q, 1] + dy):
                        away = (dz * spacing[0]) ** 2 + (dy * spacing[1]) ** 2
                        dx = 0
                        while away + (dx * spacing[2]) ** 2 < best:
                            x = corners[q, 2]
                            if is_surface(source, lookup, labels[q], z, y, x - dx) or is_surface(
                                source, lookup, labels[q], z, y, x + dx
                            ):
                                best = away + (dx * spacing[2]) ** 2
                                way[0] = (dz * spacing[0]) ** 2
                                way[1] = (dy * spacing[1]) ** 2
                                way[2] = (dx * spacing[2]) ** 2
                                found[q] = np.sqrt((way[axes[0]] + way[axes[1]]) + way[axes[2]])
                            dx += 1
                    dy += 1
            dz += 1
