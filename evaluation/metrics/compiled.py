"""Compile with numba, keeping the machine code on disk wherever a place for it can be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`numba.njit(nogil=True)` with a cache on disk.

    numba keeps the cache in `NUMBA_CACHE_DIR` if that is set, else beside the module, else, when
    the package's folder is read-only, in the user's cache folder. Where none of them can be
    written, the function is compiled anew in every process.
    """
    try:
        fast: Any = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        fast = numba.njit(nogil=True)(function)
    return cast("F", fast)
