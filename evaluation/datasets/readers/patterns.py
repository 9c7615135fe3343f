"""Find files by a path with named fields, without reading them.

A pattern is a path relative to a folder in which `{name}` stands for text inside one segment; a
name that occurs twice stands for the same text. What the text may be, plain regular expressions
say. `*` stands for any text inside one segment, also none, that nothing is named after. Matching
ignores upper and lower case; hidden names (`._lung_001.nii.gz`) never match.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from evaluation.datasets.readers.base import ReaderArguments
from evaluation.errors import BenchError
from evaluation.files.expressions import Expression, within_patience
from evaluation.files.writing import is_hidden

_FIELD = re.compile(r"\{(\w+)\}")


def _checked_pattern(text: str) -> str:
    if any(segment in {"", ".", ".."} for segment in text.split("/")):
        raise ValueError(
            f"`{text}`: a file pattern must stay inside its folder: a relative path without empty "
            "segments, `.` and `..`"
        )
    if set("{}") & set(_FIELD.sub("", text)):
        raise ValueError(
            f"`{text}` is not a file pattern: braces hold a name and nothing else, such as "
            "{case}; what it may be is a regular expression under `names`"
        )
    if "**" in text:
        raise ValueError(
            f"`{text}`: `*` stands for text inside one folder's or file's name; write one segment "
            "for each folder (`*/{case}.nii.gz`), or several patterns under `scans`"
        )
    return text


def _names_cases(text: str) -> str:
    if "case" not in fields_of(text):
        raise ValueError(f"`{text}` has no field {{case}}, which names the cases")
    return text


Pattern = Annotated[str, AfterValidator(_checked_pattern)]
CaseFiles = Annotated[Pattern, AfterValidator(_names_cases)]
"""Of files that make a case, by whose field `{case}` it is called."""


class PatternArguments(ReaderArguments):
    r"""`{case}` in a pattern names the case, `*` is any text that nothing is named after.

    Either stays inside one name between two `/`. `names`: regular expressions of fields, as
    `{frame: '\d+'}`; without one, any text fits. What goes with a case is one file: where several
    fit, the case says which.

    `top`: the archive's own folder; every pattern is looked for in it and beside it.
    """

    names: Mapping[str, Expression] = {}
    top: Pattern | None = None

    @model_validator(mode="after")
    def _names_are_used(self) -> PatternArguments:
        fields = _FIELD.findall(self.model_dump_json(exclude={"names"}))
        if unused := sorted(self.names.keys() - set(fields)):
            raise ValueError(f"names: no file pattern has the field {{{unused[0]}}}")
        return self

    def finder(self) -> Finder:
        """Finds by these arguments."""
        return Finder(self.top, self.names)


@dataclass(frozen=True)
class Match:
    """A path that fits a pattern, and what each field stands for."""

    path: Path
    values: Mapping[str, str]


class Finder:
    """Finds by pattern; remembers the listings of folders for as long as one discovery takes.

    Args:
        top: a folder that may lie above what a pattern names.
        names: regular expressions of fields.
    """

    def __init__(self, top: str | None = None, names: Mapping[str, str] | None = None) -> None:
        self.names = dict(names or {})
        self._top = top
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
            known: fields whose text is already known.
        """
        found: dict[Path, Match] = {}
        for place in self._places(pattern):
            for match in self._descend(folder, place.split("/"), dict(known or {})):
                found.setdefault(match.path, match)
        return [found[path] for path in sorted(found)]

    def one(self, folder: Path, pattern: str, known: Mapping[str, str]) -> tuple[Path, str | None]:
        """The one file that goes with a case, and what is wrong with it, if several fit.

        If none fits, it is the path that was looked for; reading it says so.
        """
        found = [str(match.path) for match in self.find(folder, pattern, known)]
        if not found:
            return self.expected_path(folder, pattern, known), None
        several = f"several files fit `{pattern}`: {', '.join(found[:5])}"
        return Path(found[0]), several if len(found) > 1 else None

    def expected_path(self, folder: Path, pattern: str, values: Mapping[str, str]) -> Path:
        """The path that a pattern stands for, for a message: what is not known becomes `*`.

        It goes through the folders that are there, as far as the pattern fits.
        """
        ways = [self._reached(folder, place, values) for place in self._places(pattern)]
        there, rest = min(reversed(ways), key=lambda way: len(way[1]))
        return there / _FIELD.sub(lambda m: values.get(m[1], "*"), "/".join(rest))

    def instead(self, folder: Path, pattern: str) -> str:
        """What lies where a pattern that fits nothing ceases to fit, in words."""
        ways = [self._reached(folder, place, {}) for place in self._places(pattern)]
        return lies_in(min(ways, key=lambda way: len(way[1]))[0])

    def _reached(
        self, folder: Path, place: str, known: Mapping[str, str]
    ) -> tuple[Path, list[str]]:
        """The first folder that fits as much of a pattern as anything does, and the rest of it."""
        segments = place.split("/")
        for n in range(len(segments) - 1, 0, -1):
            there = next(self._descend(folder, segments[:n], dict(known)), None)
            if there is not None:
                return there.path, segments[n:]
        return folder, segments

    def _places(self, pattern: str) -> list[str]:
        return [pattern] if self._top is None else [pattern, f"{self._top}/{pattern}"]

    def _descend(
        self, folder: Path, segments: list[str], values: dict[str, str]
    ) -> Iterator[Match]:
        for name, bound in self._entries(folder, segments[0], values):
            if segments[1:]:
                yield from self._descend(folder / name, segments[1:], bound)
            else:
                yield Match(folder / name, bound)

    def _entries(
        self, folder: Path, segment: str, values: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        names = self._names(folder)
        unknown = [field for field in _FIELD.findall(segment) if field not in values]
        if not unknown and "*" not in segment:
            literal = _FIELD.sub(lambda m: values[m[1]], segment)
            same = names.get(literal.lower(), [])
            # Two names that differ in case only are both there: then the exact one is meant.
            for name in [literal] if literal in same else same:
                yield name, values
            return
        expression = self._expression(segment, values)
        fits = re.compile(expression, re.IGNORECASE)
        with within_patience(expression):
            found = [(n, fits.fullmatch(n)) for same in names.values() for n in same]
        for name, match in found:
            if match:
                yield name, values | {field: match[field] for field in unknown}

    def _expression(self, segment: str, values: Mapping[str, str]) -> str:
        seen: set[str] = set()

        def group(match: re.Match[str]) -> str:
            field = match[1]
            if field in values:
                return re.escape(values[field])
            if field in seen:
                return f"(?P={field})"
            seen.add(field)
            return f"(?P<{field}>{self.names.get(field, '.+?')})"

        anything = re.escape(segment).replace(r"\*", ".*")
        return re.sub(r"\\\{(\w+)\\\}", group, anything)

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Visible names in a folder by their lower-case form; empty if it is no folder."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            for name in _visible_names(folder):
                names.setdefault(name.lower(), []).append(name)
            self._listings[folder] = names
        return self._listings[folder]


def _visible_names(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, no Path for each
    except OSError:
        return []
    return sorted(name for name in names if not is_hidden(name))


def lies_in(folder: Path) -> str:
    """What is in a folder, in words; of one that is not there, in the next one above."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    names = _visible_names(folder)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"in {folder}: " + (", ".join(names[:5]) + more or "nothing")


def fields_of(template: str) -> list[str]:
    """Names of the fields in a pattern or template."""
    return _FIELD.findall(template)


def fill(template: str, values: Mapping[str, str]) -> str:
    """A case id or sequence name from what the fields stand for.

    Raises:
        BenchError: the template has a field that the file pattern has not.
    """
    try:
        return _FIELD.sub(lambda match: values[match[1]], template)
    except KeyError as error:
        raise BenchError(
            f"`{template}` uses a field that the file pattern does not have",
            found=f"{{{error.args[0]}}}",
            expected="some of " + ", ".join(f"{{{name}}}" for name in values),
            hint="correct `reader_args` in the card",
        ) from error
