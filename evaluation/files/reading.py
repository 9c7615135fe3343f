"""Text and JSON files of the user's: read within bounds, and with errors that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError

LARGEST_TEXT = 256 << 20
"""Bytes; far above any table or record that is kept as text."""


def text_of(path: Path, largest: int = LARGEST_TEXT) -> str:
    """The text of a file in UTF-8, without a byte-order mark.

    Raises:
        BenchError: it is missing, no regular file (to open a pipe would wait for ever), larger
            than `largest` bytes, or not UTF-8.
    """
    if not path.exists():
        raise BenchError("no such file", file=path.absolute())
    if not path.is_file():
        raise BenchError("not a regular file", file=path.absolute(), expected="a text file")
    if (size := path.stat().st_size) > largest:
        raise BenchError(
            "file is too large to be what is meant", file=path, found=f"{size >> 20} MiB",
            expected=f"at most {largest >> 20} MiB of text",
        )  # fmt: skip
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(
            "file is not text in UTF-8", file=path, found=error, expected="text, saved as UTF-8"
        ) from error


def json_of(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        BenchError: as `text_of`; or it is not JSON, nests too deep, or has a key twice, of which
            plain JSON would keep the last and say nothing.
    """
    text = text_of(path)
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except (json.JSONDecodeError, RecursionError) as error:
        found = "values nested too deep" if isinstance(error, RecursionError) else error
        raise BenchError("file is not JSON", file=path, found=found, expected="JSON") from error


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BenchError(f"the key `{twice}` is there twice", file=path, hint="delete one of them")
    return mapping
