"""One padded plane of a label map at a time: loading, counting, marking.

A plane is one flat row of bytes; voxel (y, x) lies at `(y + pad_y) * stride + pad_x + x`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.compiled import compiled
from evaluation.metrics.words import BYTE, LOWEST, N_BITS, NONE, ONES, neighbour_code

Bytes = NDArray[np.uint8]


@compiled
def plane_layout(shape: Any, reach: Any) -> Any:
    """Where voxels lie in a padded plane: pad_y, pad_x, bytes of a row, bytes of the plane.

    A multiple of 8 keeps words of eight voxels aligned; corners go one beyond the last voxel.
    """
    pad_y = reach[1] + 1
    pad_x = ((reach[2] + 8) // 8) * 8
    stride = ((pad_x + shape[2] + reach[2] + 8) // 8) * 8
    return pad_y, pad_x, stride, (shape[1] + 2 * pad_y + 1) * stride


@compiled
def load_plane(
    source: Any, lookup: Bytes, plain: bool, top: Any, plane: Bytes, stride: int, pad: Any
) -> None:
    """Copy one plane (y, x) of source values into the ring, turned into class numbers.

    Where the look-up is `plain`, values up to `top` stay as they are and larger ones are dropped,
    which the processor does for many voxels at once. Otherwise the table is asked, once for each
    run of equal voxels (8-bit maps: of equal groups of eight).
    """
    pad_y, pad_x = pad
    rows, columns = source.shape
    whole = columns // 8 if source.itemsize == 1 else 0
    last_word, new_word = NONE, np.uint64(lookup[0]) * ONES
    last = source[0, 0]
    new = lookup[last]
    for y in range(rows):
        start = (y + pad_y) * stride + pad_x
        target = plane[start : start + columns]
        row = source[y]
        if plain:
            for x in range(columns):
                value = row[x]
                target[x] = np.uint8(value) if value <= top else np.uint8(0)
            continue
        if whole:
            for x in range(8 * whole):
                target[x] = np.uint8(row[x])
            words = plane[start : start + 8 * whole].view(np.uint64)
            for i in range(whole):
                if words[i] != last_word:
                    last_word = words[i]
                    for x in range(8 * i, 8 * i + 8):
                        target[x] = lookup[row[x]]
                    new_word = words[i]
                else:
                    words[i] = new_word
        for x in range(8 * whole, columns):
            value = row[x]
            if value != last:
                last = value
                new = lookup[value]
            target[x] = new


@compiled
def mark_plane(
    before: Bytes, after: Bytes, edges_before: Bytes, edges: Bytes, stride: int, marks: Bytes
) -> None:
    """Say which corners between two planes have a surface.

    `edges` becomes non-zero where the four voxels of the plane `after` round a corner differ,
    `marks` where the eight voxels of both planes do; `edges_before` are the edges of `before`.
    """
    first = stride + 1
    n = after.size - first
    here = after[first:]
    left = after[first - 1 :]
    above = after[first - stride :]
    above_left = after[first - stride - 1 :]
    target = edges[first:]
    for i in range(n):
        target[i] = (here[i] ^ left[i]) | (above[i] ^ above_left[i]) | (here[i] ^ above[i])
    for i in range(marks.size):
        marks[i] = edges_before[i] | edges[i] | (before[i] ^ after[i])


@compiled
def count_voxels(plane_a: Bytes, plane_b: Bytes, joint: Any) -> None:
    """Add this plane's voxels to `joint[class in a, class in b]`; `[0, 0]` is not kept."""
    words_a = plane_a.view(np.uint64)
    words_b = plane_b.view(np.uint64)
    for i in range(words_a.size):
        a = words_a[i]
        b = words_b[i]
        if (a | b) == np.uint64(0):
            continue
        first_a = a & BYTE
        first_b = b & BYTE
        if a == first_a * ONES and b == first_b * ONES:
            joint[first_a, first_b] += 8
        else:
            for _ in range(8):
                joint[a & BYTE, b & BYTE] += 1
                a >>= np.uint64(8)
                b >>= np.uint64(8)


@compiled
def border_plane(before: Any, here: Any, after: Any, stride: int, flat: bool, flags: Any) -> None:
    """Set `flags` to non-zero where a voxel and a neighbour differ; with `flat` in the plane only.

    Of the voxels of a class, these are its border.
    """
    first = stride + 1
    n = here.size - 2 * first
    own, earlier, later = here[first:], before[first:], after[first:]
    left, right = here[first - 1 :], here[first + 1 :]
    above, below = here[first - stride :], here[first + stride :]
    target = flags[first:]
    for i in range(n):
        within = (own[i] ^ left[i]) | (own[i] ^ right[i])
        target[i] = within | (own[i] ^ above[i]) | (own[i] ^ below[i])
    if not flat:
        for i in range(n):
            target[i] |= (own[i] ^ earlier[i]) | (own[i] ^ later[i])


@compiled
def count_borders(plane_a: Bytes, plane_b: Bytes, flags: Any, borders: Any) -> None:
    """Add this plane's border voxels by class: of the one side, of the other, of both."""
    words_a, words_b = plane_a.view(np.uint64), plane_b.view(np.uint64)
    flags_a, flags_b = flags[0].view(np.uint64), flags[1].view(np.uint64)
    for i in range(words_a.size):
        if flags_a[i] | flags_b[i] == NONE:
            continue
        a, b = words_a[i], words_b[i]
        on_a = ~(neighbour_code(flags_a[i], NONE) | neighbour_code(a, NONE)) & BYTE
        on_b = ~(neighbour_code(flags_b[i], NONE) | neighbour_code(b, NONE)) & BYTE
        on_both = on_a & on_b
        # Class by class, all voxels of one at a time.
        while on_a != NONE:
            label = (a >> LOWEST[on_a]) & BYTE
            own = on_a & neighbour_code(a, label)
            on_a ^= own
            borders[label, 0] += N_BITS[own]
            borders[label, 2] += N_BITS[own & on_both & neighbour_code(b, label)]
        while on_b != NONE:
            label = (b >> LOWEST[on_b]) & BYTE
            own = on_b & neighbour_code(b, label)
            on_b ^= own
            borders[label, 1] += N_BITS[own]
