"""One sweep over the voxel corners of two label maps: the compiled part of the default engine.

A surface element sits on a voxel corner, where the 2x2x2 voxels round it do not all agree. Planes
of both maps pass through a small ring of padded planes, so that the whole working set stays in
the processor's cache whatever the size of the volumes:

1. a plane is copied into the ring, source values turned into class numbers (0 = no class);
2. voxels are counted by (class in the reference, class in the prediction), eight at a time where
   eight neighbours agree;
3. for every corner of the new corner plane, one byte says whether its eight voxels differ;
4. as soon as the ring holds all planes within the tolerance, every differing corner is looked at:
   for each class there, its neighbour code is counted under the nearest tolerance within which
   the other map has a surface of the same class.

All counters are integers, so results do not depend on axis order, flips, padding or cropping.
Arrays here are (z, y, x) in memory order: x is whichever axis is contiguous. A plane of the ring
is one flat row of bytes; voxel (y, x) lies at `(y + pad_y) * stride + pad_x + x`, and the corner
between the voxels x-1 and x (likewise y, z) has the position of voxel x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.compiled import compiled

Bytes = NDArray[np.uint8]

_ONES = np.uint64(0x0101010101010101)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_GATHER = np.uint64(0x0102040810204080)
_BYTE = np.uint64(0xFF)
_NONE = np.uint64(0)
# Position of the lowest set bit of a byte, times 8.
_LOWEST = np.array([8 * ((n & -n).bit_length() - 1) if n else 0 for n in range(256)], np.uint64)


@compiled
def neighbour_code(word: Any, label: Any) -> Any:
    """Bit b is set where byte b of `word` equals `label` (both uint64)."""
    differing = word ^ (label * _ONES)
    equal = ~(((differing & _LOW_BITS) + _LOW_BITS) | differing | _LOW_BITS)
    return ((equal >> np.uint64(7)) * _GATHER) >> np.uint64(56)


@compiled
def corner_word(ring: Bytes, before: Any, after: Any, stride: Any) -> Any:
    """The labels of the eight voxels round a corner as one word; byte 4*dz + 2*dy + dx.

    `before` and `after` are the corner's positions in two planes of the flat ring. They and
    `stride` are uint64, which spares the test for negative indices.
    """
    one = np.uint64(1)
    return (
        np.uint64(ring[before - stride - one])
        | np.uint64(ring[before - stride]) << np.uint64(8)
        | np.uint64(ring[before - one]) << np.uint64(16)
        | np.uint64(ring[before]) << np.uint64(24)
        | np.uint64(ring[after - stride - one]) << np.uint64(32)
        | np.uint64(ring[after - stride]) << np.uint64(40)
        | np.uint64(ring[after - one]) << np.uint64(48)
        | np.uint64(ring[after]) << np.uint64(56)
    )


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
    last_word, new_word = _NONE, np.uint64(lookup[0]) * _ONES
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
        first_a = a & _BYTE
        first_b = b & _BYTE
        if a == first_a * _ONES and b == first_b * _ONES:
            joint[first_a, first_b] += 8
        else:
            for _ in range(8):
                joint[a & _BYTE, b & _BYTE] += 1
                a >>= np.uint64(8)
                b >>= np.uint64(8)


@compiled
def nearest_level(
    label: Any, position: Any, ring: Bytes, marks: Bytes, stride: Any, moves: Any
) -> Any:
    """The level of the first move that leads to a surface of this class in the other map.

    Move 0 (the corner itself) was looked at by the caller. The last level means: none does.
    """
    for m in range(1, moves.shape[0]):
        after = position + moves[m, 1]
        if marks[after] != 0:
            word = corner_word(ring, position + moves[m, 0], after, stride)
            code = neighbour_code(word, label)
            if code != _NONE and code != _BYTE:
                return moves[m, 2]
    return moves[0, 3]


@compiled
def count_side(
    word: Any,
    other_word: Any,
    position: Any,
    ring: Bytes,
    marks: Bytes,
    stride: Any,
    moves: Any,
    found: Any,
) -> None:
    """Count every class at one corner of one side; `ring` and `marks` are the other side's."""
    open_bytes = _BYTE ^ neighbour_code(word, _NONE)
    while open_bytes != _NONE:
        label = (word >> _LOWEST[open_bytes]) & _BYTE
        code = neighbour_code(word, label)
        open_bytes &= ~code
        other = neighbour_code(other_word, label)
        if other != _NONE and other != _BYTE:
            found[0, label, code] += 1
        else:
            level = nearest_level(label, position, ring, marks, stride, moves)
            found[level, label, code] += 1


@compiled
def count_corners(rings: Any, marks: Any, plane: Any, stride: Any, moves: Any, found: Any) -> None:
    """Look at every corner of one corner plane at which one of the maps has a surface.

    Args:
        rings: the flat ring of either side.
        marks: the flat ring of either side's marks.
        plane: where this corner plane's marks start and how many there are.
        stride: bytes of a row of a plane, uint64.
        moves: uint64 (n, 4), for every step within the largest tolerance, nearest first: what to
            add to a position in a plane to get to the planes before and after the corner that the
            step leads to, the step's level, and the level that means beyond every tolerance.
        found: counters (level, class, code) of either side, and (class, code) of elements that
            are the same on both sides.
    """
    ring_a, ring_b = rings
    marks_a, marks_b = marks
    found_a, found_b, found_both = found
    # Kept out of the loop, where the compiler must assume that counting changes them.
    to_before, to_after = moves[0, 0], moves[0, 1]
    words_a = marks_a[plane[0] : plane[0] + plane[1]].view(np.uint64)
    words_b = marks_b[plane[0] : plane[0] + plane[1]].view(np.uint64)
    for i in range(words_a.size):
        marked = words_a[i] | words_b[i]
        if marked == _NONE:
            continue
        open_corners = _BYTE ^ neighbour_code(marked, _NONE)
        while open_corners != _NONE:
            position = np.uint64(i * 8) + (_LOWEST[open_corners] >> np.uint64(3))
            open_corners &= open_corners - np.uint64(1)
            before, after = position + to_before, position + to_after
            word_a = corner_word(ring_a, before, after, stride)
            word_b = corner_word(ring_b, before, after, stride)
            if word_a == word_b:
                open_bytes = _BYTE ^ neighbour_code(word_a, _NONE)
                while open_bytes != _NONE:
                    label = (word_a >> _LOWEST[open_bytes]) & _BYTE
                    code = neighbour_code(word_a, label)
                    open_bytes &= ~code
                    found_both[label, code] += 1
                continue
            if marks_a[after] != 0:
                count_side(word_a, word_b, position, ring_b, marks_b, stride, moves, found_a)
            if marks_b[after] != 0:
                count_side(word_b, word_a, position, ring_a, marks_a, stride, moves, found_b)


@compiled
def sweep(
    sources: Any,
    lookups: Any,
    plain: Any,
    top: Any,
    reach: Any,
    steps: Any,
    corners: Any,
    joint: Any,
    found: Any,
) -> None:
    """Count voxels and surface elements of all classes of one pass.

    Pairs of arguments are (reference, prediction).

    Args:
        sources: two label maps (z, y, x) of one shape and type, contiguous, uint8 or uint16.
        lookups: for either map, the class number of every value; at most 255 classes.
        plain: for either map, whether its look-up leaves values up to `top` as they are and
            drops all larger ones.
        top: for either map, that value, in the map's type.
        reach: longest step along z, y, x in voxels.
        steps: int64 (n, 4), rows dz, dy, dx, level, nearest first; row 0 is the corner itself.
        corners: first and last corner plane to look at.
        joint: int64 (classes + 1, classes + 1), voxel counts to add to.
        found: for either side int64 (levels + 1, classes + 1, 256), surface elements by level
            (the last one is: beyond every tolerance), class and neighbour code, to add to.
    """
    reach_z, reach_y, reach_x = reach
    n_z, n_y, n_x = sources[0].shape
    pad_y = reach_y + 1
    # A multiple of 8 keeps words of eight voxels aligned; corners go one beyond the last voxel.
    pad_x = ((reach_x + 8) // 8) * 8
    stride = ((pad_x + n_x + reach_x + 8) // 8) * 8
    size = (n_y + 2 * pad_y + 1) * stride
    n_slots = 2 * reach_z + 2
    ring_a = np.zeros((n_slots, size), dtype=np.uint8)
    ring_b = np.zeros((n_slots, size), dtype=np.uint8)
    marks_a = np.zeros((n_slots, size), dtype=np.uint8)
    marks_b = np.zeros((n_slots, size), dtype=np.uint8)
    edges_a = np.zeros((2, size), dtype=np.uint8)
    edges_b = np.zeros((2, size), dtype=np.uint8)
    rings = (ring_a.reshape(-1), ring_b.reshape(-1))
    marks = (marks_a.reshape(-1), marks_b.reshape(-1))
    moves = np.empty((steps.shape[0], 4), dtype=np.uint64)
    found_both = np.zeros(found[0].shape[1:], dtype=np.int64)
    pad = (pad_y, pad_x)
    for p in range(n_z + 1 + reach_z):
        slot = p % n_slots
        new, old = p % 2, (p + 1) % 2
        if p < n_z:
            load_plane(sources[0][p], lookups[0], plain[0], top[0], ring_a[slot], stride, pad)
            load_plane(sources[1][p], lookups[1], plain[1], top[1], ring_b[slot], stride, pad)
            count_voxels(ring_a[slot], ring_b[slot], joint)
        else:
            ring_a[slot] = 0
            ring_b[slot] = 0
        mark_plane(
            ring_a[slot - 1], ring_a[slot], edges_a[old], edges_a[new], stride, marks_a[slot]
        )
        mark_plane(
            ring_b[slot - 1], ring_b[slot], edges_b[old], edges_b[new], stride, marks_b[slot]
        )
        k = p - reach_z
        if corners[0] <= k <= corners[1]:
            for m in range(steps.shape[0]):
                # Adding the number of slots keeps the dividends positive; sums of unsigned
                # numbers wrap round, so a step back is a step forward.
                after = (k + steps[m, 0] + n_slots) % n_slots
                before = (k + steps[m, 0] + n_slots - 1) % n_slots
                shift = steps[m, 1] * stride + steps[m, 2]
                moves[m, 0] = np.uint64(before * size + shift)
                moves[m, 1] = np.uint64(after * size + shift)
                moves[m, 2] = np.uint64(steps[m, 3])
                moves[m, 3] = np.uint64(found[0].shape[0] - 1)
            plane = ((k % n_slots) * size, size)
            counters = (found[0], found[1], found_both)
            count_corners(rings, marks, plane, np.uint64(stride), moves, counters)
    found[0][0] += found_both
    found[1][0] += found_both
