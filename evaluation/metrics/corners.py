"""One corner plane of two label maps: every surface element is counted, or noted as out of reach.

The part of the sweep (`evaluation.metrics.sweep`) that looks at single corners: for each class
there, its neighbour code is counted under the level of the nearest step that leads to a surface of
the same class in the other map.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled
from evaluation.metrics.planes import Bytes
from evaluation.metrics.words import BYTE, LOWEST, NONE, neighbour_code


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
            if code != NONE and code != BYTE:
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
    near: Any,
    found: Any,
) -> Any:
    """Count every class at one corner of one side; `ring` and `marks` are the other side's.

    `near` says which classes have voxels within reach; None = nobody asks what lies beyond it.
    Returns the bytes of the word whose classes have no surface within reach, a bit each.
    """
    far = NONE
    open_bytes = BYTE ^ neighbour_code(word, NONE)
    while open_bytes != NONE:
        label = (word >> LOWEST[open_bytes]) & BYTE
        code = neighbour_code(word, label)
        open_bytes &= ~code
        other = neighbour_code(other_word, label)
        if other != NONE and other != BYTE:
            found[label, 0, code] += 1
            continue
        if near is None:
            level = nearest_level(label, position, ring, marks, stride, moves)
            found[label, level, code] += 1
        else:
            level = moves[0, 3]
            if near[label]:
                level = nearest_level(label, position, ring, marks, stride, moves)
            found[label, level, code] += 1
            if level == moves[0, 3]:
                far |= code
    return far


@compiled
def note_far(open_bytes: Any, word: Any, place: Any, far: Any, n_far: Any) -> None:
    """Write down the elements of these bytes of a corner's word, as far as there is room."""
    while open_bytes != NONE:
        label = (word >> LOWEST[open_bytes]) & BYTE
        code = neighbour_code(word, label)
        open_bytes &= ~code
        if n_far[0] < far.size:
            far[n_far[0]] = np.int64(place << np.uint64(16) | label << np.uint64(8) | code)
        n_far[0] += 1


@compiled
def count_corners(
    rings: Any,
    marks: Any,
    plane: Any,
    stride: Any,
    moves: Any,
    base: Any,
    beyond: Any,
    found: Any,
) -> None:
    """Look at every corner of one corner plane at which one of the maps has a surface.

    Args:
        rings: the flat ring of either side.
        marks: the flat ring of either side's marks.
        plane: where this corner plane's marks start and how many there are.
        stride: bytes of a row of a plane, uint64.
        moves: uint64 (n, 4), for every step within reach, nearest first: what to add to a
            position in a plane to get to the planes before and after the corner that the step
            leads to, the step's level, and the level that means beyond reach.
        base: number of the plane's first position among those of all planes.
        beyond: None, or what is noted of elements beyond reach: uint64, a bit for every eight
            corners of this plane, set where one is marked; for either side, which classes have
            voxels within reach; room for either side's elements; how many of them there are.
        found: counters (class, level, code) of either side, and (class, code) of elements that
            are the same on both sides.
    """
    found_a, found_b, found_both = found
    ring_a, ring_b = rings
    marks_a, marks_b = marks
    # Kept out of the loop, where the compiler must assume that counting changes them.
    to_before, to_after = moves[0, 0], moves[0, 1]
    words_a = marks_a[plane[0] : plane[0] + plane[1]].view(np.uint64)
    words_b = marks_b[plane[0] : plane[0] + plane[1]].view(np.uint64)
    for i in range(words_a.size):
        marked = words_a[i] | words_b[i]
        if marked == NONE:
            continue
        if beyond is not None:
            beyond[0][i >> 6] |= np.uint64(1) << np.uint64(i & 63)
        open_corners = BYTE ^ neighbour_code(marked, NONE)
        while open_corners != NONE:
            position = np.uint64(i * 8) + (LOWEST[open_corners] >> np.uint64(3))
            open_corners &= open_corners - np.uint64(1)
            before, after = position + to_before, position + to_after
            word_a = corner_word(ring_a, before, after, stride)
            word_b = corner_word(ring_b, before, after, stride)
            if word_a == word_b:
                open_bytes = BYTE ^ neighbour_code(word_a, NONE)
                while open_bytes != NONE:
                    label = (word_a >> LOWEST[open_bytes]) & BYTE
                    code = neighbour_code(word_a, label)
                    open_bytes &= ~code
                    found_both[label, code] += 1
                continue
            if marks_a[after] != 0:
                if beyond is None:
                    count_side(
                        word_a, word_b, position, ring_b, marks_b, stride, moves, None, found_a
                    )
                else:
                    far = count_side(
                        word_a, word_b, position, ring_b, marks_b, stride, moves, beyond[2], found_a
                    )
                    if far != NONE:
                        note_far(far, word_a, base + position, beyond[3], beyond[5])
            if marks_b[after] != 0:
                if beyond is None:
                    count_side(
                        word_b, word_a, position, ring_a, marks_a, stride, moves, None, found_b
                    )
                else:
                    far = count_side(
                        word_b, word_a, position, ring_a, marks_a, stride, moves, beyond[1], found_b
                    )
                    if far != NONE:
                        note_far(far, word_b, base + position, beyond[4], beyond[6])
