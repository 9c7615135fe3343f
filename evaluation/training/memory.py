"""Freed memory goes back to the system at once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any


@lru_cache
def _trim() -> Callable[[int], Any] | None:
    """The C library's `malloc_trim`, which glibc has and others have not."""
    try:
        found: Callable[[int], Any] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


def give_back_free_memory() -> None:
    """Return free pages of the heap to the system, where the C library can.

    Masks of every size are made and freed for each prompt, and glibc keeps blocks below 32 MiB
    on its heap: with hundreds of prompts the holes between them add up to a gigabyte.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
