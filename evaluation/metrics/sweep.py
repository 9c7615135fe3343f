"""One sweep over the voxel corners of two label maps: the compiled part of the default engine.

A surface element sits on a voxel corner, where the 2x2x2 voxels round it do not all agree. Planes
of both maps pass through a small ring of padded planes, so that the whole working set stays in
the processor's cache whatever the size of the volumes:

1. a plane is copied into the ring, source values turned into class numbers (0 = no class);
2. voxels are counted by (class in the reference, class in the prediction), eight at a time where
   eight neighbours agree;
3. for every corner of the new corner plane, one byte says whether its eight voxels differ;
4. as soon as the ring holds all planes within reach, every differing corner is looked at: for each
   class there, its neighbour code is counted under the level of the nearest step that leads to a
   surface of the same class in the other map. A level is a tolerance, or, where distances are
   asked for, a distance of its own;
5. where distances are asked for, elements that no step brings to a surface are written down.

All counters are integers, so results do not depend on axis order, flips, padding or cropping.
Arrays here are (z, y, x) in memory order: x is whichever axis is contiguous. A plane of the ring
is one flat row of bytes; voxel (y, x) lies at `(y + pad_y) * stride + pad_x + x`, and the corner
between the voxels x-1 and x (likewise y, z) has the position of voxel x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled
from evaluation.metrics.corners import count_corners
from evaluation.metrics.planes import (
    border_plane,
    count_borders,
    count_voxels,
    load_plane,
    mark_plane,
    plane_layout,
)

# A plane with so many elements out of reach is followed by one where only few steps are tried.
_MANY_FAR, _FEW_MOVES = 2000, 30


@compiled
def note_presence(
    joint: Any, before: Any, plane: int, last_a: Any, last_b: Any, present: Any
) -> None:
    """Note the plane, also as the last one, of all classes that gained voxels since `before`."""
    for a in range(joint.shape[0]):
        for b in range(joint.shape[1]):
            if joint[a, b] != before[a, b]:
                before[a, b] = joint[a, b]
                last_a[a] = plane
                last_b[b] = plane
                present[0, plane, a] = present[1, plane, b] = True


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
    borders: Any,
    beyond: Any,
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
        found: for either side int64 (classes + 1, levels + 1, 256), surface elements by class,
            level (the last one is: beyond reach) and code, to add to.
        borders: int64 (classes + 1, 3), border voxels to add to, of the reference, of the
            prediction, of both; (0, 3) to leave out.
        beyond: None, or what is noted of the elements that no step brought to a surface:
            far, for either side int64, to be filled with as many as fit, as
            place * 65536 + class * 256 + code, where place = corner plane * bytes of a padded
            plane + position in it (`plane_layout`);
            n_far, for either side int64 (1), how many of them there are; where there are many,
            not all steps are tried;
            seen, uint64 (corner planes, n), to be filled with a bit for every eight positions of
            the padded planes, set where either side has a surface;
            present, bool (2, planes, classes + 1), set for either side where a plane has voxels of
            a class.
    """
    reach_z = reach[0]
    n_z = sources[0].shape[0]
    pad_y, pad_x, stride, size = plane_layout(sources[0].shape, reach)
    # Border voxels need three planes.
    n_slots = max(2 * reach_z + 2, 3)
    ring_a = np.zeros((n_slots, size), dtype=np.uint8)
    ring_b = np.zeros((n_slots, size), dtype=np.uint8)
    marks_a = np.zeros((n_slots, size), dtype=np.uint8)
    marks_b = np.zeros((n_slots, size), dtype=np.uint8)
    edges_a = np.zeros((2, size), dtype=np.uint8)
    edges_b = np.zeros((2, size), dtype=np.uint8)
    rings = (ring_a.reshape(-1), ring_b.reshape(-1))
    marks = (marks_a.reshape(-1), marks_b.reshape(-1))
    moves = np.empty((steps.shape[0], 4), dtype=np.uint64)
    n_classes, n_levels, n_codes = found[0].shape
    found_both = np.zeros((n_classes, n_codes), dtype=np.int64)
    # The last plane that held voxels of a class, so that nobody looks far for what is not there.
    joint_before = np.zeros_like(joint)
    last_a = np.full(n_classes, -(n_slots + 1), dtype=np.int64)
    last_b = last_a.copy()
    flags = np.zeros((2, size if borders.shape[0] else 0), dtype=np.uint8)
    pad = (pad_y, pad_x)
    n_moves, n_before = moves.shape[0], 0
    for p in range(n_z + 1 + reach_z):
        slot = p % n_slots
        new, old = p % 2, (p + 1) % 2
        if p < n_z:
            load_plane(sources[0][p], lookups[0], plain[0], top[0], ring_a[slot], stride, pad)
            load_plane(sources[1][p], lookups[1], plain[1], top[1], ring_b[slot], stride, pad)
            count_voxels(ring_a[slot], ring_b[slot], joint)
            if beyond is not None:
                note_presence(joint, joint_before, p, last_a, last_b, beyond[3])
        else:
            ring_a[slot] = 0
            ring_b[slot] = 0
        if borders.shape[0] and 0 < p <= n_z:
            ends = (slot - 2, slot - 1, slot)
            flat = corners[0] == corners[1] and n_z == 2
            border_plane(ring_a[ends[0]], ring_a[ends[1]], ring_a[slot], stride, flat, flags[0])
            border_plane(ring_b[ends[0]], ring_b[ends[1]], ring_b[slot], stride, flat, flags[1])
            count_borders(ring_a[slot - 1], ring_b[slot - 1], flags, borders)
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
                moves[m, 3] = np.uint64(n_levels - 1)
            plane = ((k % n_slots) * size, size)
            if beyond is None:
                count_corners(
                    rings,
                    marks,
                    plane,
                    np.uint64(stride),
                    moves,
                    np.uint64(k * size),
                    None,
                    (found[0], found[1], found_both),
                )
            else:
                far, n_far, seen, _ = beyond
                # Where most of a plane is out of reach, looking further is left to those who
                # work out the far elements anyway.
                n_now = n_far[0][0] + n_far[1][0]
                n_moves = _FEW_MOVES if n_now - n_before > _MANY_FAR else moves.shape[0]
                n_before = n_now
                near_a, near_b = last_a >= k - reach_z - 1, last_b >= k - reach_z - 1
                count_corners(
                    rings,
                    marks,
                    plane,
                    np.uint64(stride),
                    moves[:n_moves],
                    np.uint64(k * size),
                    (seen[k], near_a, near_b, far[0], far[1], n_far[0], n_far[1]),
                    (found[0], found[1], found_both),
                )
    found[0][:, 0] += found_both
    found[1][:, 0] += found_both
