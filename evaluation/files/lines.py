"""Lines of JSON that are added one by one, each with the sum of what it says.

A line that was cut off by a kill, or altered since, is none: what it said is found out again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from evaluation.files.identity import digest
from evaluation.files.writing import require_place


def sealed(values: Mapping[str, Any]) -> str:
    """One line, with its end, that holds these values."""
    return json.dumps({**values, "sum": digest(values)}) + "\n"


def open_lines(path: Path) -> TextIO:
    """The file, to add lines to its end.

    Raises:
        BenchError: a folder or a device is there.
        OSError: it cannot be written.
    """
    require_place(path)
    return path.open("a", encoding="utf-8")


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The values of all whole lines of a file; of one that is not there, none."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                values = json.loads(line)
                found = values.pop("sum")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            if found == digest(values):
                yield values
