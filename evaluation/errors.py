"""One error type for everything that a user can put right."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

_MOST_FOUND = 4_000
"""Characters of what was found: a damaged file may be one line of megabytes."""
# Turn the direction of writing, so that a name reads as another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class BenchError(Exception):
    """What was found, what was expected, in which file, and what to do next.

    The command line prints it without a traceback; inside a loop over cases it becomes the
    case's `reason` and the other cases go on.

    Args:
        problem: one sentence that names what is wrong.
        file: the file or folder concerned.
        found: what is there.
        expected: what should be there.
        hint: what the user can do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        found: object | None = None,
        expected: object | None = None,
        hint: str | None = None,
    ) -> None:
        lines = [problem]
        if file is not None:
            lines.append(f"  file:     {file}")
        if found is not None:
            lines.append(f"  found:    {_shown(str(found))}")
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if hint is not None:
            lines.append(f"  to do:    {hint}")
        super().__init__("\n".join(printable(line, keep="\n") for line in lines))
        self.problem = problem
        self.hint = hint

    @property
    def one_line(self) -> str:
        """The whole message on one line, for a status table."""
        return "; ".join(" ".join(line.split()) for line in str(self).splitlines())


def in_one_line(error: Exception) -> str:
    """What went wrong, for a status table."""
    if isinstance(error, BenchError):
        return error.one_line
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def printable(text: str, keep: str = "") -> str:
    """The text with control characters, which could steer a terminal, as escapes.

    Args:
        text: anything.
        keep: control characters that stay, such as the end of a line.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or _harmless(c) else _escaped(c) for c in text)


def _shown(found: str) -> str:
    if len(found) <= _MOST_FOUND:
        return found
    return f"{found[:_MOST_FOUND]} … ({len(found)} characters)"


def _harmless(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind not in ("Cc", "Cs", "Zl", "Zp") and character not in _TURNING


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A hint that names the closest known spellings, or lists all of a short list."""
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f"`{c}`" for c in close) + "?"
    return "known: " + ", ".join(sorted(known)[:40])


def one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    """Raise a BenchError if the value of an option or argument is none of those allowed."""
    if value not in allowed:
        raise BenchError(f"{what}: no such choice", found=value, hint=did_you_mean(value, allowed))
