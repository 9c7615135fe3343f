"""Find files by a path with named fields, without reading them.

A pattern is a path relative to a folder in which `{name}` stands for text inside one segment; a
name that occurs twice stands for the same text. What the text may be, plain regular expressions
say. Matching ignores upper and lower case; hidden names (`._lung_001.nii.gz`) never match.
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
    return text


Pattern = Annotated[str, AfterValidator(_checked_pattern)]


class PatternArguments(ReaderArguments):
    r"""`names`: regular expressions of fields, as `{frame: '\d+'}`; without one, any text fits.

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

    def expected_path(self, folder: Path, pattern: str, values: Mapping[str, str]) -> Path:
        """The path that a pattern stands for, for a message: unknown fields become `*`.

        In the top folder, where there is one.
        """
        places = self._places(pattern)
        paths = [folder / _FIELD.sub(lambda m: values.get(m[1], "*"), place) for place in places]
        return next((path for path in reversed(paths) if path.parent.is_dir()), paths[-1])

    def instead(self, folder: Path, pattern: str) -> str:
        """What lies where a pattern that fits nothing ceases to fit, in words."""
        segments = pattern.split("/")
        for n in range(len(segments) - 1, 0, -1):
            if there := self.find(folder, "/".join(segments[:n])):
                folder = there[0].path
                break
        names = sorted(name for same in self._names(folder).values() for name in same)
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return f"in {folder}: " + (", ".join(names[:5]) + more or "nothing")

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
        if not unknown:
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

        return re.sub(r"\\\{(\w+)\\\}", group, re.escape(segment))

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
