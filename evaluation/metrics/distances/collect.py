"""Where the surfaces of wanted classes lie: the compiled loops that list them."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled
from evaluation.metrics.words import BYTE, NONE, ONES, neighbour_code


@compiled
def four_labels(source: Any, lookup: Any, z: int, y: int, x: int) -> Any:
    """The wanted classes of the voxels (z-1..z, y-1..y) at x, in bytes 0, 2, 4, 6 of a word."""
    word = NONE
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
    source: Any,
    lookup: Any,
    seen: Any,
    planes: Any,
    box: Any,
    layout: Any,
    next_place: Any,
    places: Any,
) -> None:
    """List the corners at which wanted classes have a surface.

    Args:
        source: label map (z, y, x).
        lookup: for every value its number among the wanted classes, from 1; 0 is not wanted.
        seen: where to look (see `sweep.sweep`).
        planes: bool, which corner planes to look at.
        box: int64 (2, 3), first and last z, y, x to look at; along x up to seven more.
        layout: of the planes of `seen` (see `sweep.plane_layout`).
        next_place: int64 (wanted + 1), the first free row of `places` for each; moves on.
        places: int32 (n, 3), to be filled with z, y, x, of each class in this order.
    """
    pad_y, pad_x, stride, _ = layout
    n_z, n_y, n_x = source.shape
    flat = source.reshape(-1)
    one = np.uint64(1)
    # What to subtract to get from a voxel to those before it along y, along z, along both.
    back_y, back_z = np.uint64(n_x), np.uint64(n_x * n_y)
    back_zy = back_y + back_z
    columns = np.empty(9, dtype=np.uint64)
    for z in range(box[0, 0], box[1, 0] + 1):
        if not planes[z]:
            continue
        for y in range(box[0, 1], box[1, 1] + 1):
            row = (y + pad_y) * stride + pad_x
            eight, last = (row + box[0, 2]) >> 3, (row + box[1, 2]) >> 3
            while eight <= last:
                bits = seen[z, eight >> 6] >> np.uint64(eight & 63)
                if bits == NONE:
                    eight = (eight | 63) + 1
                    continue
                if bits & one:
                    x = eight * 8 - row
                    present = NONE
                    if 0 < z < n_z and 0 < y < n_y and 0 < x < n_x - 7:
                        voxel = np.uint64((z * n_y + y) * n_x + x - 1)
                        for k in range(9):
                            column = (
                                np.uint64(lookup[flat[voxel - back_zy]])
                                | np.uint64(lookup[flat[voxel - back_z]]) << np.uint64(16)
                                | np.uint64(lookup[flat[voxel - back_y]]) << np.uint64(32)
                                | np.uint64(lookup[flat[voxel]]) << np.uint64(48)
                            )
                            columns[k] = column
                            present |= column
                            voxel += one
                    else:
                        for k in range(9):
                            columns[k] = four_labels(source, lookup, z, y, x - 1 + k)
                            present |= columns[k]
                    if present != NONE:
                        list_word(columns, z, y, x, next_place, places)
                eight += 1


@compiled
def list_word(columns: Any, z: int, y: int, x: int, next_place: Any, places: Any) -> None:
    """List the surface corners among eight, given the classes of the 2x2x9 voxels round them."""
    for k in range(8):
        word = columns[k] | (columns[k + 1] << np.uint64(8))
        first = word & BYTE
        if word == first * ONES:
            continue
        # Each class once: at its first byte.
        for byte in range(8):
            label = (word >> np.uint64(8 * byte)) & BYTE
            if label == NONE or (byte > 0 and label == first):
                continue
            code = neighbour_code(word, label)
            if code & ((np.uint64(1) << np.uint64(byte)) - np.uint64(1)) == NONE:
                place = next_place[label]
                next_place[label] += 1
                places[place, 0] = z
                places[place, 1] = y
                places[place, 2] = x + k
