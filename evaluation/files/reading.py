"""Text, JSON, tables and arrays in files: read within bounds, and with errors that help."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

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


def mapping_of(path: Path) -> dict[str, Any]:
    """What a JSON record of a step says; nothing if there is none, or no whole one.

    For records without which the step is done again.
    """
    try:
        found = json_of(path)
    except BenchError:
        return {}
    return found if isinstance(found, dict) else {}


def rows_of(
    path: Path, columns: Sequence[str] | None = None, named: str = ""
) -> list[dict[str, str]]:
    """The rows of a CSV file that a step has written.

    Args:
        path: the file.
        columns: that it has, in order; None: any.
        named: a column whose cells name folders.

    Raises:
        BenchError: as `text_of`; or it has other columns, a row is cut off, or a name leads out
            of the folder that it lies in.
    """
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""), strict=True)
    try:
        rows = list(reader)
        found = tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise _other_table(path, error, columns or ()) from error
    columns = found if columns is None else columns
    if found != tuple(columns):
        raise _other_table(path, ",".join(found), columns)
    for row in rows:
        if None in row or None in row.values():
            raise _other_table(path, f"a row of other length: {list(row.values())}", columns)
        if named:
            require_folder_name(row[named], path)
    return rows


def frame_of(path: Path, **options: Any) -> pd.DataFrame:
    """A table in CSV.

    Args:
        path: the file.
        options: of `pandas.read_csv`.

    Raises:
        BenchError: as `text_of`; or there is no header, a row is cut off, or a value is not of
            the type that the options name.
    """
    import pandas as pd

    text = text_of(path)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
        if {len(line) for line in lines} != {len(lines[0]) if lines else 1}:
            raise ValueError("rows of different lengths" if lines else "nothing")
        frame: pd.DataFrame = pd.read_csv(io.StringIO(text), **options)
        return frame
    except (ValueError, csv.Error) as error:
        raise BenchError(
            "table cannot be read", file=path, found=error,
            expected="CSV: a header, and rows of its length",
        ) from error  # fmt: skip


def array_of(path: Path, *, mapped: bool = False) -> Any:
    """The array of a `.npy` file, or those of a `.npz` by name; nothing in it is unpickled.

    Args:
        path: the file.
        mapped: read the parts of an array that are asked for, when they are asked for.

    Raises:
        BenchError: the file is damaged, or holds something else.
        OSError: it is missing or may not be read.
    """
    import numpy as np

    try:
        if mapped:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else dict(found)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BenchError(
            "file holds no array, or is damaged", file=path, found=error,
            hint="delete it and run snakemake again, which makes it if the workflow can",
        ) from error  # fmt: skip


def _other_table(path: Path, found: object, columns: Sequence[str]) -> BenchError:
    return BenchError(
        "file is damaged, or of another version",
        file=path,
        found=found,
        expected=f"a table with the columns {','.join(columns)}",
        hint="delete it and run snakemake again, which makes it",
    )


def is_folder_name(name: str) -> bool:
    """Whether an id may name a folder: one that leads elsewhere would be written elsewhere."""
    return name not in ("", ".", "..") and all(c not in "/\\" and c.isprintable() for c in name)


def require_folder_name(name: str, file: Path) -> None:
    """Refuse an id that is no name of one folder.

    Raises:
        BenchError: names the file that holds it.
    """
    if not is_folder_name(name):
        raise BenchError(
            "an id cannot be the name of a folder", file=file, found=repr(name),
            expected="one name, without `/`, `..` and control characters",
        )  # fmt: skip


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BenchError(f"the key `{twice}` is there twice", file=path, hint="delete one of them")
    return mapping
