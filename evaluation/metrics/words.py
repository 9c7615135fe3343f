"""Eight labels at a time: the bytes of a 64-bit word, and which of them are what."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.metrics.compiled import compiled

ONES = np.uint64(0x0101010101010101)
BYTE = np.uint64(0xFF)
NONE = np.uint64(0)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_GATHER = np.uint64(0x0102040810204080)
# Position of the lowest set bit of a byte, times 8.
LOWEST = np.array([8 * ((n & -n).bit_length() - 1) if n else 0 for n in range(256)], np.uint64)
# How many bits of a byte are set.
N_BITS = np.array([n.bit_count() for n in range(256)], np.int64)


@compiled
def neighbour_code(word: Any, label: Any) -> Any:
    """Bit b is set where byte b of `word` equals `label` (both uint64)."""
    differing = word ^ (label * ONES)
    equal = ~(((differing & _LOW_BITS) + _LOW_BITS) | differing | _LOW_BITS)
    return ((equal >> np.uint64(7)) * _GATHER) >> np.uint64(56)
