"""Regular expressions of the user's: checked when they are read, and never tried for ever."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import AfterValidator

from evaluation.errors import BenchError

PATIENCE_S = 2.0
"""Seconds; an expression that needs them for a name tries exponentially many ways."""
_LONGEST = 2000


class _TooLongError(Exception):
    pass


def checked(text: str) -> str:
    """The expression, if it is one.

    Raises:
        ValueError: it is not.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a regular expression of more than {_LONGEST} characters")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"`{text[:200]}` is not a regular expression: {error}") from error
    return text


def with_group(text: str) -> str:
    """The expression, if it has a group.

    Raises:
        ValueError: it has none, or is no regular expression.
    """
    if re.compile(checked(text)).groups < 1:
        raise ValueError(f"`{text[:200]}` has no group in parentheses, such as ^(p\\d+)_")
    return text


Expression = Annotated[str, AfterValidator(checked)]
WithGroup = Annotated[str, AfterValidator(with_group)]


@contextmanager
def within_patience(expression: str) -> Iterator[None]:
    """A block that matches an expression, stopped when it takes too long.

    The clock can only interrupt a process's main thread; elsewhere, and on Windows, which has no
    such clock, the block runs as it is.

    Raises:
        BenchError: it took longer than `PATIENCE_S`.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_signal: int, _frame: Any) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    left = signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    except _TooLongError:
        raise BenchError(
            "the regular expression takes for ever", found=expression[:200],
            expected=f"an answer within {PATIENCE_S:g} s",
            hint="a repetition within a repetition, as in (a+)+, tries every way to divide a name",
        ) from None  # fmt: skip
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)
