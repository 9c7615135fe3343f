"""How much surface the 2x2x2 voxels round a corner stand for.

The areas are those of the package `surface-distance` (DeepMind, Apache License 2.0), which
tabulates the triangles that marching cubes puts into each of the 256 neighbourhoods. That table
does not change under flips and permutations of the axes (spacing permuted with them) nor under
exchange of inside and outside, so 13 neighbourhoods say all of it; the rest is derived here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

Normal = tuple[int, int, int]
Cell = tuple[int, int, int]

CELLS: tuple[Cell, ...] = tuple(
    (i, j, k) for i, j, k in itertools.product((0, 1), repeat=3)
)  # the cell of bit b, along the three axes

# Neighbourhood (cells that are inside) -> triangle normals in eighths of the three cell faces,
# signs left out because only lengths matter.
_TRIANGLES: dict[tuple[int, ...], tuple[Normal, ...]] = {
    (0,): ((1, 1, 1),),
    (0, 1): ((2, 2, 0), (2, 2, 0)),
    (1, 2): ((1, 1, 1),) * 2,
    (0, 7): ((1, 1, 1),) * 2,
    (0, 1, 2): ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    (1, 2, 4): ((1, 1, 1),) * 3,
    (0, 3, 4): ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    (0, 1, 2, 3): ((4, 0, 0), (4, 0, 0)),
    (0, 1, 2, 4): ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    (0, 1, 3, 4): ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    (1, 2, 3, 4): ((4, 0, 0), (1, 1, 1), (1, 1, 1), (2, 2, 2)),
    (2, 3, 4, 5): ((2, 2, 0),) * 4,
    (0, 3, 5, 6): ((1, 1, 1),) * 4,
}


@lru_cache(maxsize=256)
def surface_areas(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Surface in mm² of each of the 256 neighbour codes.

    Bit `4*i + 2*j + k` of a code is set if the voxel at (i, j, k) of the 2x2x2 neighbourhood is
    inside; the axes are those of the spacing.

    Args:
        spacing_mm: voxel size along the three axes in mm.
    """
    x, y, z = spacing_mm
    faces = y * z, x * z, x * y
    areas = np.zeros(256)
    for code, normals in _all_triangles().items():
        areas[code] = sum(
            math.sqrt(sum((n / 8 * face) ** 2 for n, face in zip(normal, faces, strict=True)))
            for normal in normals
        )
    areas.setflags(write=False)
    return areas


@lru_cache(maxsize=256)
def contour_lengths(spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Contour length in mm of the 2x2 neighbourhoods of two-dimensional data.

    The table has 256 entries so that two equal slices can be swept like a volume: only the 16
    codes whose two halves are equal occur, the others are 0.

    Args:
        spacing_mm: pixel size along the two axes in mm.
    """
    first, second = spacing_mm
    corner = 0.5 * math.sqrt(first**2 + second**2)
    lengths = np.zeros(256)
    for code in range(1, 15):
        cells = [(code >> b) & 1 for b in range(4)]  # (0, 0), (0, 1), (1, 0), (1, 1)
        if sum(cells) in (1, 3):
            length = corner
        elif cells[0] == cells[3]:
            length = 2 * corner
        else:
            length = second if cells[0] == cells[1] else first
        lengths[code * 17] = length
    lengths.setflags(write=False)
    return lengths


@cache
def _all_triangles() -> dict[int, tuple[Normal, ...]]:
    """The triangles of every code that has a surface."""
    triangles: dict[int, tuple[Normal, ...]] = {}
    for inside, normals in _TRIANGLES.items():
        cells = [CELLS[b] for b in inside]
        for order in itertools.permutations(range(3)):
            turned = tuple((n[order[0]], n[order[1]], n[order[2]]) for n in normals)
            for code in _flipped([(c[order[0]], c[order[1]], c[order[2]]) for c in cells]):
                triangles.setdefault(code, turned)
                triangles.setdefault(255 - code, turned)
    return triangles


def _flipped(cells: Sequence[Cell]) -> Iterator[int]:
    """Codes of a neighbourhood under the eight flips."""
    for flip in CELLS:
        yield sum(1 << (4 * (i ^ flip[0]) + 2 * (j ^ flip[1]) + (k ^ flip[2])) for i, j, k in cells)
