"""Find files by a pattern with named parts, without reading them.

A pattern is a path relative to a folder, its segments separated by `/`. `{name}` stands for text
inside one segment, `{name:REGEX}` restricts it, a name that occurs twice must stand for the same
text, and `[...]` is an optional piece. Matching ignores upper and lower case; hidden names
(`._lung_001.nii.gz` and the like) never match.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evaluation.errors import BenchError
from evaluation.files.writing import is_hidden

_PLACEHOLDER = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


@dataclass(frozen=True)
class Match:
    """A path that fits a pattern, and what each placeholder stands for."""

    path: Path
    values: Mapping[str, str]


class Finder:
    """Finds by pattern; remembers the listings of folders for as long as one discovery takes."""

    def __init__(self) -> None:
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(
        self, folder: Path, pattern: str, known: Mapping[str, str] | None = None
    ) -> list[Match]:
        """Files and folders under `folder` that fit `pattern`, sorted by path.

        Only folders on the way of the pattern are listed, so a link to somewhere large costs
        nothing.

        Args:
            folder: where the pattern starts.
            pattern: see the module's text.
            known: placeholders whose text is already known.
        """
        found: dict[Path, Match] = {}
        for segments in _alternatives(pattern):
            for match in self._descend(folder, segments, dict(known or {})):
                found.setdefault(match.path, match)
        return [found[path] for path in sorted(found)]

    def _descend(
        self, folder: Path, segments: tuple[str, ...], values: dict[str, str]
    ) -> Iterator[Match]:
        segment, rest = segments[0], segments[1:]
        for name, bound in self._entries(folder, segment, values):
            if rest:
                yield from self._descend(folder / name, rest, bound)
            else:
                yield Match(folder / name, bound)

    def _entries(
        self, folder: Path, segment: str, values: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        names = self._names(folder)
        # "/" cannot be part of a name, so it marks a placeholder that is still open.
        literal = _PLACEHOLDER.sub(lambda m: values.get(m[1], "/"), segment)
        if "/" not in literal:
            same = names.get(literal.lower(), [])
            # Two names that differ in case only are both there: then the exact one is meant.
            for name in [literal] if literal in same else same:
                yield name, values
            return
        fits = re.compile(_segment_regex(segment, values), re.IGNORECASE)
        for same in names.values():
            for name in same:
                if match := fits.fullmatch(name):
                    yield name, {**values, **match.groupdict()}

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Visible names in a folder by their lower-case form; empty if it is no folder."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            try:
                for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, no Path for each
                    if not is_hidden(name):
                        names.setdefault(name.lower(), []).append(name)
            except OSError:
                names = {}
            self._listings[folder] = names
        return self._listings[folder]


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a case id or sequence name.

    Raises:
        BenchError: the template names a placeholder that the pattern has not.
    """

    def text(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise BenchError(
                f"`{template}` uses a placeholder that the file pattern does not have",
                found="{" + match[1] + "}",
                expected="one of " + ", ".join("{" + name + "}" for name in values),
                hint="correct `reader_args` in the card",
            )
        return values[match[1]]

    return _PLACEHOLDER.sub(text, template)


def expected_path(folder: Path, pattern: str, values: Mapping[str, str]) -> Path:
    """The path that a pattern stands for, for a message: unknown placeholders become `*`.

    Of the alternatives, the longest one whose folder exists is named.
    """
    paths = [
        folder.joinpath(*(_PLACEHOLDER.sub(lambda m: values.get(m[1], "*"), s) for s in segments))
        for segments in _alternatives(pattern)
    ]
    return next((p for p in reversed(paths) if p.parent.is_dir()), paths[-1])


def _segment_regex(segment: str, values: Mapping[str, str]) -> str:
    parts: list[str] = []
    seen: set[str] = set()
    position = 0
    for match in _PLACEHOLDER.finditer(segment):
        parts.append(re.escape(segment[position : match.start()]))
        name = match[1]
        if name in values:
            parts.append(re.escape(values[name]))
        elif name in seen:
            parts.append(f"(?P={name})")
        else:
            parts.append(f"(?P<{name}>{match[2] or '.+?'})")
            seen.add(name)
        position = match.end()
    parts.append(re.escape(segment[position:]))
    return "".join(parts)


@lru_cache(maxsize=1024)
def _alternatives(pattern: str) -> tuple[tuple[str, ...], ...]:
    """The pattern with and without each optional piece, split into segments."""
    expanded = _expand(pattern)
    split = [tuple(_split(text)) for text in expanded]
    if any(not segment or segment in {".", ".."} for segments in split for segment in segments):
        raise BenchError(
            "a file pattern must stay inside its folder",
            found=pattern,
            expected="a relative path without empty segments, `.` and `..`",
        )
    return tuple(split)


def check_pattern(pattern: str) -> str:
    """Return the pattern if it is well formed, otherwise raise ValueError (for pydantic)."""
    try:
        for segments in _alternatives(pattern):
            for segment in segments:
                re.compile(_segment_regex(segment, {}))
    except (BenchError, re.error) as error:
        raise ValueError(f"`{pattern}` is not a file pattern: {error}") from error
    return pattern


def _expand(pattern: str) -> list[str]:
    depth, start = 0, None
    for index, character in enumerate(pattern):
        if character in "{}":
            depth += 1 if character == "{" else -1
        elif depth == 0 and character == "[":
            start = index
        elif depth == 0 and character == "]" and start is not None:
            before, inner, after = pattern[:start], pattern[start + 1 : index], pattern[index + 1 :]
            return [before + head + tail for tail in _expand(after) for head in ("", inner)]
    return [pattern]


def _split(text: str) -> list[str]:
    segments, depth, current = [], 0, ""
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "/" and depth == 0:
            segments.append(current)
            current = ""
        else:
            current += character
    return [*segments, current]
