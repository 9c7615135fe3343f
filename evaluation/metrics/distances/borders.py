"""Border voxels of all classes: the compiled loops that list them and that count bands of them.

A border voxel has a neighbour across a face that is not of its class; outside the volume there is
none of any class. Planes of a label map pass through a ring of padded planes, as in
`evaluation.metrics.sweep`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled
from evaluation.metrics.planes import border_plane, load_plane

_NONE = np.uint64(0)


@compiled
def list_borders(
    source: Any,
    lookup: Any,
    plain: bool,
    top: Any,
    planes: Any,
    flat: bool,
    n_found: Any,
    places: Any,
) -> None:
    """List the border voxels of wanted classes, or only count them.

    Args:
        source: label map (z, y, x).
        lookup: for every value its number among the wanted classes, from 1; 0 is not wanted.
        plain: whether the look-up leaves values up to `top` as they are and drops larger ones.
        top: that value.
        planes: first and last plane to look at.
        flat: planes are looked at by themselves.
        n_found: int64 (wanted + 1), the first free row of `places` for each; moves on.
        places: int32 (n, 3), to be filled with z, y, x, of each class in this order; of no rows
            to count only.
    """
    n_z, n_y, n_x = source.shape
    pad = (1, 8)
    stride = ((n_x + 8 + 8) // 8) * 8
    size = (n_y + 3) * stride
    ring = np.zeros((3, size), dtype=np.uint8)
    flags = np.zeros(size, dtype=np.uint8)
    words = flags.view(np.uint64)
    if planes[0] > 0:
        load_plane(
            source[planes[0] - 1], lookup, plain, top, ring[(planes[0] - 1) % 3], stride, pad
        )
    load_plane(source[planes[0]], lookup, plain, top, ring[planes[0] % 3], stride, pad)
    for z in range(planes[0], planes[1] + 1):
        following = ring[(z + 1) % 3]
        if z + 1 < n_z:
            load_plane(source[z + 1], lookup, plain, top, following, stride, pad)
        else:
            following[:] = 0
        here = ring[z % 3]
        border_plane(ring[(z - 1) % 3], here, following, stride, flat, flags)
        for i in range(words.size):
            if words[i] == _NONE:
                continue
            for place in range(8 * i, 8 * i + 8):
                label = here[place]
                if label and flags[place]:
                    row = n_found[label]
                    n_found[label] += 1
                    if places.shape[0]:
                        places[row, 0] = z
                        places[row, 1] = place // stride - 1
                        places[row, 2] = place % stride - 8


@compiled
def count_bands(
    sources: Any,
    lookups: Any,
    plain: Any,
    top: Any,
    planes: Any,
    flat: bool,
    steps: Any,
    counts: Any,
) -> None:
    """Count voxels near the border of their own class, by class.

    Args:
        sources: two label maps (z, y, x) of one shape and type, as in `sweep.sweep`.
        lookups: for either map, the class number of every value.
        plain: as in `sweep.sweep`.
        top: as in `sweep.sweep`.
        planes: first and last plane to look at.
        flat: planes are looked at by themselves.
        steps: int64 (n, 3), dz, dy, dx: voxels that a step leads to a border voxel of their class
            belong to the band; row 0 is no step at all.
        counts: int64 (classes + 1, 3), to add to: voxels in the reference's band, in the
            prediction's, in both.
    """
    _, n_y, n_x = sources[0].shape
    reach = np.abs(steps).max() if steps.size else 0
    pad_y = reach + 1
    pad_x = ((reach + 8) // 8) * 8
    pad = (pad_y, pad_x)
    stride = ((pad_x + n_x + reach + 8) // 8) * 8
    size = (n_y + 2 * pad_y + 1) * stride
    n_slots = 2 * reach + 3
    rings = np.zeros((2, n_slots, size), dtype=np.uint8)
    flags = np.zeros((2, n_slots, size), dtype=np.uint8)
    spread = np.zeros((2, size), dtype=np.uint8)
    words = spread[0].view(np.uint64)
    first, last = planes
    for p in range(first - reach - 1, last + reach + 2):
        slot = p % n_slots
        for side in range(2):
            if first <= p <= last:
                if side == 0:
                    load_plane(
                        sources[0][p], lookups[0], plain[0], top[0], rings[0, slot], stride, pad
                    )
                else:
                    load_plane(
                        sources[1][p], lookups[1], plain[1], top[1], rings[1, slot], stride, pad
                    )
            else:
                rings[side, slot] = 0
            done = (p - 1) % n_slots
            flags[side, done] = 0
            border_plane(
                rings[side, (p - 2) % n_slots], rings[side, done], rings[side, slot], stride, flat,
                flags[side, done],
            )  # fmt: skip
        k = p - 1 - reach
        if first <= k <= last:
            if not near_any_border(flags, spread, k, stride, reach):
                continue
            for i in range(words.size):
                if words[i] == _NONE:
                    continue
                for place in range(8 * i, 8 * i + 8):
                    a, b = rings[0, k % n_slots, place], rings[1, k % n_slots, place]
                    in_a = a != 0 and near_border(rings[0], flags[0], a, k, place, stride, steps)
                    in_b = b != 0 and near_border(rings[1], flags[1], b, k, place, stride, steps)
                    if in_a:
                        counts[a, 0] += 1
                    if in_b:
                        counts[b, 1] += 1
                    if in_a and in_b and a == b:
                        counts[a, 2] += 1


@compiled
def near_any_border(flags: Any, spread: Any, plane: int, stride: int, reach: int) -> bool:
    """Spread the borders near a plane over the box of all steps; whether there are any.

    `spread[0]` becomes non-zero where a voxel can be near a border at all.
    """
    here, other = spread[0], spread[1]
    here[:] = 0
    for side in range(2):
        for z in range(plane - reach, plane + reach + 1):
            bordering = flags[side, z % flags.shape[1]]
            for i in range(here.size):
                here[i] |= bordering[i]
    for apart in (1, stride):
        other[:] = here
        for k in range(1, reach + 1):
            shift = k * apart
            n = here.size - shift
            for i in range(n):
                here[i] |= other[i + shift]
            for i in range(n):
                here[i + shift] |= other[i]
    return bool(here.any())


@compiled
def near_border(
    ring: Any, flags: Any, label: Any, plane: int, place: int, stride: int, steps: Any
) -> bool:
    """Whether a step leads to a border voxel of this class."""
    for m in range(steps.shape[0]):
        slot = (plane + steps[m, 0]) % ring.shape[0]
        there = place + steps[m, 1] * stride + steps[m, 2]
        if flags[slot, there] and ring[slot, there] == label:
            return True
    return False
