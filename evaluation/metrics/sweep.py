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


@compiled
def neighbour_code(word: Any, label: Any) -> Any:
    """Bit b is set where byte b of `word` equals `label` (both uint64)."""
    differing = word ^ (label * _ONES)
    equal = ~(((differing & _LOW_BITS) + _LOW_BITS) | differing | _LOW_BITS)
    return ((equal >> np.uint64(7)) * _GATHER) >> np.uint64(56)


@compiled
def corner_word(before: Bytes, after: Bytes, position: int, stride: int) -> Any:
    """The labels of the eight voxels round a corner as one word; byte 4*dz + 2*dy + dx."""
    above = position - stride
    return (
        np.uint64(before[above - 1])
        | np.uint64(before[above]) << np.uint64(8)
        | np.uint64(before[position - 1]) << np.uint64(16)
        | np.uint64(before[position]) << np.uint64(24)
        | np.uint64(after[above - 1]) << np.uint64(32)
        | np.uint64(after[above]) << np.uint64(40)
        | np.uint64(after[position - 1]) << np.uint64(48)
        | np.uint64(after[position]) << np.uint64(56)
    )


@compiled
def load_plane(
    source: Any, lookup: Bytes, plain: bool, top: Any, plane: Bytes, stride: int, pad: Any
) -> None:
    """Copy one plane (y, x) of source values into the ring, turned into class numbers.

    Where the look-up is `plain`, values up to `top` stay as they are and larger ones are dropped,
    which the processor does for many voxels at once. Otherwise the table is asked, once for each
    run of equal values.
    """
    pad_y, pad_x = pad
    rows, columns = source.shape
    last = source[0, 0]
    translated = lookup[last]
    for y in range(rows):
        start = (y + pad_y) * stride + pad_x
        target = plane[start : start + columns]
        row = source[y]
        if plain:
            for x in range(columns):
                value = row[x]
                target[x] = np.uint8(value) if value <= top else np.uint8(0)
        else:
            for x in range(columns):
                value = row[x]
                if value != last:
                    last = value
                    translated = lookup[value]
                target[x] = translated


@compiled
def mark_plane(plane: Bytes, stride: int, edges: Bytes) -> None:
    """Non-zero where the four voxels of this plane round a corner differ."""
    first = stride + 1
    n = plane.size - first
    here = plane[first:]
    left = plane[first - 1 :]
    above = plane[first - stride :]
    above_left = plane[first - stride - 1 :]
    target = edges[first:]
    for i in range(n):
        target[i] = (here[i] ^ left[i]) | (above[i] ^ above_left[i]) | (here[i] ^ above[i])


@compiled
def join_planes(
    before: Bytes, after: Bytes, edges_before: Bytes, edges_after: Bytes, marks: Bytes
) -> None:
    """Non-zero where the eight voxels of two planes round a corner differ."""
    for i in range(marks.size):
        marks[i] = edges_before[i] | edges_after[i] | (before[i] ^ after[i])


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
    label: Any, position: int, k: int, ring: Any, marks: Any, stride: int, offsets: Any
) -> int:
    """The level of the first offset at which the other map has a surface of this class.

    Offset 0 (the corner itself) was looked at by the caller.
    """
    n_slots = ring.shape[0]
    for o in range(1, offsets.shape[0]):
        slot = (k + offsets[o, 0]) % n_slots
        other = position + offsets[o, 1]
        if marks[slot, other] != 0:
            word = corner_word(ring[slot - 1], ring[slot], other, stride)
            code = neighbour_code(word, label)
            if code != np.uint64(0) and code != _BYTE:
                return int(offsets[o, 2])
    return -1


@compiled
def count_side(
    word: Any,
    other_word: Any,
    position: int,
    k: int,
    ring: Any,
    marks: Any,
    stride: int,
    offsets: Any,
    found: Any,
) -> None:
    """Count every class at one corner of one side; `ring` and `marks` are the other side's."""
    rest = np.uint64(0)
    beyond = found.shape[0] - 1
    labels = word
    for b in range(8):
        label = labels & _BYTE
        labels >>= np.uint64(8)
        if label == np.uint64(0) or (rest >> np.uint64(b)) & np.uint64(1):
            continue
        code = neighbour_code(word, label)
        rest |= code
        other = neighbour_code(other_word, label)
        if other != np.uint64(0) and other != _BYTE:
            found[0, label, code] += 1
        else:
            level = nearest_level(label, position, k, ring, marks, stride, offsets)
            found[level if level >= 0 else beyond, label, code] += 1


@compiled
def count_corners(
    k: int,
    ring_a: Any,
    ring_b: Any,
    marks_a: Any,
    marks_b: Any,
    stride: int,
    offsets: Any,
    found_a: Any,
    found_b: Any,
    found_both: Any,
) -> None:
    """Look at every corner of plane `k` at which one of the maps has a surface."""
    n_slots = ring_a.shape[0]
    slot = k % n_slots
    a_before, a_after = ring_a[slot - 1], ring_a[slot]
    b_before, b_after = ring_b[slot - 1], ring_b[slot]
    words_a = marks_a[slot].view(np.uint64)
    words_b = marks_b[slot].view(np.uint64)
    for i in range(words_a.size):
        marked = words_a[i] | words_b[i]
        position = i * 8 - 1
        while marked != np.uint64(0):
            position += 1
            here = marked & _BYTE
            marked >>= np.uint64(8)
            if here == np.uint64(0):
                continue
            word_a = corner_word(a_before, a_after, position, stride)
            word_b = corner_word(b_before, b_after, position, stride)
            if word_a == word_b:
                rest = np.uint64(0)
                labels = word_a
                for b in range(8):
                    label = labels & _BYTE
                    labels >>= np.uint64(8)
                    if label == np.uint64(0) or (rest >> np.uint64(b)) & np.uint64(1):
                        continue
                    code = neighbour_code(word_a, label)
                    rest |= code
                    found_both[label, code] += 1
                continue
            if marks_a[slot, position] != 0:
                count_side(
                    word_a, word_b, position, k, ring_b, marks_b, stride, offsets, found_a
                )
            if marks_b[slot, position] != 0:
                count_side(
                    word_b, word_a, position, k, ring_a, marks_a, stride, offsets, found_b
                )


@compiled
def sweep(
    a: Any,
    b: Any,
    lookup_a: Bytes,
    lookup_b: Bytes,
    plain: Any,
    top: Any,
    reach: Any,
    steps: Any,
    corners: Any,
    joint: Any,
    found_a: Any,
    found_b: Any,
) -> None:
    """Count voxels and surface elements of all classes of one pass.

    Args:
        a: reference values (z, y, x), contiguous, uint8 or uint16.
        b: prediction values, same shape and type.
        lookup_a: class number of every value of `a`, at most 255 classes.
        lookup_b: the same for `b`.
        plain: for either side, whether its look-up leaves values up to `top` as they are and
            drops all larger ones.
        top: for either side, that value, in the type of `a`.
        reach: largest offset along z, y, x in voxels.
        steps: int64 (n, 4), rows dz, dy, dx, level, nearest first; row 0 is the corner itself.
        corners: first and last corner plane to look at.
        joint: int64 (classes + 1, classes + 1), voxel counts to add to.
        found_a: int64 (levels + 1, classes + 1, 256), surface elements of the reference by level
            (the last one is: beyond every tolerance), class and neighbour code, to add to.
        found_b: the same for the prediction.
    """
    reach_z, reach_y, reach_x = reach
    n_z, n_y, n_x = a.shape
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
    offsets = np.empty((steps.shape[0], 3), dtype=np.int64)
    for o in range(steps.shape[0]):
        # Slots are taken modulo their number; adding it once keeps the dividend positive.
        offsets[o, 0] = steps[o, 0] + n_slots
        offsets[o, 1] = steps[o, 1] * stride + steps[o, 2]
        offsets[o, 2] = steps[o, 3]
    found_both = np.zeros(found_a.shape[1:], dtype=np.int64)
    pad = (pad_y, pad_x)
    for p in range(n_z + 1 + reach_z):
        slot = p % n_slots
        new, old = p % 2, (p + 1) % 2
        if p < n_z:
            load_plane(a[p], lookup_a, plain[0], top[0], ring_a[slot], stride, pad)
            load_plane(b[p], lookup_b, plain[1], top[1], ring_b[slot], stride, pad)
            count_voxels(ring_a[slot], ring_b[slot], joint)
            mark_plane(ring_a[slot], stride, edges_a[new])
            mark_plane(ring_b[slot], stride, edges_b[new])
        else:
            ring_a[slot] = 0
            ring_b[slot] = 0
            edges_a[new] = 0
            edges_b[new] = 0
        join_planes(ring_a[slot - 1], ring_a[slot], edges_a[old], edges_a[new], marks_a[slot])
        join_planes(ring_b[slot - 1], ring_b[slot], edges_b[old], edges_b[new], marks_b[slot])
        k = p - reach_z
        if corners[0] <= k <= corners[1]:
            count_corners(
                k, ring_a, ring_b, marks_a, marks_b, stride, offsets, found_a, found_b, found_both
            )
    found_a[0] += found_both
    found_b[0] += found_both
