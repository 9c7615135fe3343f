"""Where the surfaces of wanted classes lie: the compiled loops that list them."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled
from evaluation.metrics.sweep import neighbour_code

_ONES = np.uint64(0x0101010101010101)
_BYTE = np.uint64(0xFF)
_NONE = np.uint64(0)


@compiled
def four_labels(source: Any, lookup: Any, z: int, y: int, x: int) -> Any:
    """The wanted classes of the voxels (z-1..z, y-1..y) at x, in bytes 0, 2, 4, 6 of a word."""
    word = _NONE
    if x < 0 or x >= source.shape[2]:
        return word
    for dz in range(2):
        if 0 <= z - 1 + dz < source.shape[0]:
            for dy in range(2):
                if 0 <= y - 1 + dy < source.shape[1]:
                    label = np.uint64(lookup[source[z - 1 + dz, y - 1 + dy, x]])
                    word |= label << np.uint64(32 * dz + 16 * dy)
    return word


@compiled
def collect_corners(
    source: Any, lookup: Any, seen: Any, layout: Any, next_place: Any, places: Any
) -> None:
    """List the corners at which wanted classes have a surface.

    Args:
        source: label map (z, y, x).
        lookup: for every value its number among the wanted classes, from 1; 0 is not wanted.
        seen: where to look (see `sweep.sweep`).
        layout: of the planes of `seen` (see `sweep.plane_layout`).
        next_place: int64 (wanted + 1), the first free row of `places` for each; moves on.
        places: int32 (n, 3), to be filled with z, y, x, of each class in this order.
    """
    pad_y, pad_x, stride, _ = layout
    for z in range(seen.shape[0]):
        for w in range(seen.shape[1]):
            bits = seen[z, w]
            i = w * 64
            while bits != _NONE:
                if bits & _BYTE == _NONE:
                    bits >>= np.uint64(8)
                    i += 8
                    continue
                if bits & np.uint64(1):
                    y = (i * 8) // stride - pad_y
                    x = (i * 8) % stride - pad_x
                    before = four_labels(source, lookup, z, y, x - 1)
                    for k in range(x, x + 8):
                        after = four_labels(source, lookup, z, y, k)
                        word = before | (after << np.uint64(8))
                        before = after
                        if word == (word & _BYTE) * _ONES:
                            continue
                        for byte in range(8):
                            label = (word >> np.uint64(8 * byte)) & _BYTE
                            if label == _NONE:
                                continue
                            code = neighbour_code(word, label)
                            # Each class once: at its first byte.
                            if code & ((np.uint64(1) << np.uint64(byte)) - np.uint64(1)) == _NONE:
                                place = next_place[label]
                                next_place[label] += 1
                                places[place, 0] = z
                                places[place, 1] = y
                                places[place, 2] = k
                bits >>= np.uint64(1)
                i += 1
