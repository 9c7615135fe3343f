"""Which values a label map holds, in one look at every voxel and without sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled
from evaluation.volumes.image_files import Array

_WIDEST_TABLE = 1 << 20


def distinct_values(label_map: Array) -> set[int]:
    """All values of an integer label map, its background included.

    Args:
        label_map: integers of any shape and memory order.
    """
    if label_map.dtype == np.bool_:
        label_map = label_map.view(np.uint8)
    if label_map.itemsize <= 2:
        low, size = int(np.iinfo(label_map.dtype).min), 1 << 8 * label_map.itemsize
    else:
        low = int(label_map.min(initial=0))
        size = int(label_map.max(initial=0)) - low + 1
        if size > _WIDEST_TABLE:
            return {int(value) for value in np.unique(label_map)}
    seen = np.zeros(size, dtype=np.bool_)
    # In memory order; this is a view wherever the voxels lie without gaps.
    mark_values(label_map.ravel(order="K"), low, seen)
    return {int(value) + low for value in np.flatnonzero(seen)}


@compiled
def mark_values(values: Any, low: int, seen: Any) -> None:
    """Set `seen[value - low]` for every value; runs of equal voxels cost one comparison each."""
    if values.size == 0:
        return
    last = values[0]
    seen[np.int64(last) - low] = True
    for value in values:
        if value != last:
            last = value
            seen[np.int64(value) - low] = True
