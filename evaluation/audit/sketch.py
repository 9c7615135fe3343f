"""The voxel sketch: proof that two scans hold the same voxels, whatever their header says.

Around every local maximum the 56 nearest neighbours are ordered by value, and only the kind of
each neighbour (face, edge, corner, ...) is written down. Flips and permutations of the axes keep
this order, and so does every strictly increasing change of the intensities; a crop keeps it for
all maxima inside. Of the hashes of all maxima the smallest are kept (a MinHash), so a crop and
its parent keep the same ones. Interpolation destroys the order: that is what keypoints are for.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.compiled import compiled
from evaluation.volumes.image_files import Array

SKETCH_SIZE = 4096
"""Hashes kept of each scan (32 kB); a sixty-fourth of a scan still shares about 64 of them."""

FEWEST_VALUES = 20
"""A neighbourhood with fewer different values says too little to be anybody's mark."""

Hashes = NDArray[np.uint64]

_NEIGHBOURS = np.array(
    [p for p in product(range(-2, 3), repeat=3) if 0 < sum(map(abs, p)) <= 3], dtype=np.int64
)
# Kinds: face, edge, corner, two steps along an axis, two steps and one aside.
_KINDS = np.array(
    [
        [(0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 2), (0, 1, 2)].index(tuple(sorted(map(abs, p))))
        for p in _NEIGHBOURS.tolist()
    ],
    dtype=np.int64,
)


def voxel_sketch(array: Array, size: int = SKETCH_SIZE) -> Hashes:
    """The smallest hashes of all local maxima of a scan.

    Args:
        array: (x, y, z), any real type.
        size: how many hashes to keep.

    Returns:
        Ascending distinct hashes, at most `size`; empty for a constant or very small scan.
    """
    if min(array.shape) < 5:
        return np.empty(0, dtype=np.uint64)
    lines = as_lines(array)
    places, first = _maxima(lines, _NEIGHBOURS, _KINDS)
    # Hashes begin with a byte that costs little: only maxima whose byte can be among the smallest
    # need the rest. The outcome is the same as with all of them.
    counts = np.cumsum(np.bincount(first, minlength=256))
    for highest in (int(np.searchsorted(counts, 4 * size)), 255):
        chosen = first <= highest
        found = _hashes(lines, places[chosen], first[chosen], _NEIGHBOURS, _KINDS, FEWEST_VALUES)
        smallest: Hashes = np.unique(found)[:size]
        if len(smallest) == size or highest >= 255:
            break
    return smallest


def as_lines(array: Array) -> Array:
    """The scan as float32 (z, y, x) in C order; one type, so that loops are compiled once."""
    return np.ascontiguousarray(array.T, dtype=np.float32)


@compiled
def _maxima(a: Any, neighbours: Any, kinds: Any) -> Any:
    """Flat indices of the local maxima and the first byte of the hash of each."""
    n0, n1, n2 = a.shape
    places = np.empty(4096, dtype=np.int64)
    first = np.empty(4096, dtype=np.uint8)
    n = 0
    for i in range(2, n0 - 2):
        for j in range(2, n1 - 2):
            for k in range(2, n2 - 2):
                v = a[i, j, k]
                if v <= a[i, j, k - 1] or v <= a[i, j, k + 1]:
                    continue
                if v <= a[i, j - 1, k] or v <= a[i, j + 1, k]:
                    continue
                if v <= a[i - 1, j, k] or v <= a[i + 1, j, k]:
                    continue
                upper = max(
                    a[i, j, k - 1], a[i, j, k + 1], a[i, j - 1, k],
                    a[i, j + 1, k], a[i - 1, j, k], a[i + 1, j, k],
                )  # fmt: skip
                lower = min(
                    a[i, j, k - 1], a[i, j, k + 1], a[i, j - 1, k],
                    a[i, j + 1, k], a[i - 1, j, k], a[i + 1, j, k],
                )  # fmt: skip
                token = np.uint64(0)
                for m in range(neighbours.shape[0]):
                    w = a[i + neighbours[m, 0], j + neighbours[m, 1], k + neighbours[m, 2]]
                    place = np.uint64(12 * kinds[m])
                    token += np.uint64(w > upper) << place
                    token += np.uint64(w > lower) << (place + np.uint64(6))
                if n == places.size:
                    more_places = np.empty(2 * n, dtype=np.int64)
                    more_places[:n] = places
                    places = more_places
                    more_first = np.empty(2 * n, dtype=np.uint8)
                    more_first[:n] = first
                    first = more_first
                places[n] = (i * n1 + j) * n2 + k
                first[n] = _mixed(token) >> np.uint64(56)
                n += 1
    return places[:n], first[:n]


@compiled
def _hashes(a: Any, places: Any, first: Any, neighbours: Any, kinds: Any, fewest: int) -> Any:
    """Hashes of the maxima whose neighbourhoods have enough different values."""
    _, n1, n2 = a.shape
    n = neighbours.shape[0]
    found = np.empty(places.size, dtype=np.uint64)
    n_found = 0
    values = np.empty(n, dtype=a.dtype)
    tags = np.empty(n, dtype=np.int64)
    for p in range(places.size):
        k = places[p] % n2
        j = places[p] // n2 % n1
        i = places[p] // (n1 * n2)
        for m in range(n):  # insertion sort: the list is short
            w = a[i + neighbours[m, 0], j + neighbours[m, 1], k + neighbours[m, 2]]
            q = m
            while q > 0 and values[q - 1] > w:
                values[q] = values[q - 1]
                tags[q] = tags[q - 1]
                q -= 1
            values[q] = w
            tags[q] = kinds[m]
        digest = np.uint64(0)
        group = np.uint64(0)
        n_values = 0
        for m in range(n):
            group += np.uint64(1) << np.uint64(8 * tags[m])
            if m == n - 1 or values[m + 1] != values[m]:
                # Equal values form one group: only how many of each kind it has counts.
                n_values += 1
                digest = _mixed(digest ^ group)
                group = np.uint64(0)
        if n_values >= fewest:
            found[n_found] = (np.uint64(first[p]) << np.uint64(56)) | (digest >> np.uint64(8))
            n_found += 1
    return found[:n_found]


@compiled
def _mixed(word: Any) -> Any:
    word += np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
