"""Score rows as the file that a user asked for, in place of nothing but an earlier one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.errors import BenchError
from evaluation.files.spreadsheets import write_sheet
from evaluation.metrics.catalogue import metrics_among
from evaluation.schema import SCORES, Table, scores_table, write_table

SUFFIXES = (".parquet", ".csv")


def require_ours(path: Path, table: Table = SCORES) -> None:
    """Refuse to write rows of a table over what is none of ours.

    Raises:
        BenchError: another format, a folder, a device, or a file that holds no such rows.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise BenchError("unknown format of the output", file=path, expected=" or ".join(SUFFIXES))
    if path.is_dir():
        raise BenchError("the output is a folder", file=path, hint="name a file in --out")
    if path.exists() and not path.is_file():
        raise BenchError("the output is no regular file", file=path, hint="name a file in --out")
    if path.is_file() and path.stat().st_size and not _holds(path, table):
        raise BenchError(
            "the output is there already and holds no score rows of ours",
            file=path,
            hint="it is not overwritten: delete it, or name another file in --out",
        )


def instances_file(output: Path) -> Path:
    """Where the single structures are written: beside the score rows, in the same format."""
    return output.with_name(f"instances{output.suffix.lower()}")


def _holds(path: Path, table: Table) -> bool:
    first = table.names[:3]
    try:
        if path.name.lower().endswith(".csv"):
            with path.open("rb") as stream:
                return stream.read(200).startswith(",".join(first).encode())
        return bool(pq.read_schema(path).names[:3] == first)
    except (OSError, pa.ArrowException):
        return False


def write_rows(path: Path, frame: pd.DataFrame, table: Table = SCORES) -> None:
    """Write score rows, or those of another table, as Parquet or CSV, atomically.

    Raises:
        BenchError: as `require_ours`, or the file cannot be written.
    """
    require_ours(path, table)
    if table is SCORES:
        table = scores_table([metric.id for metric in metrics_among(frame.columns)])
    try:
        if path.name.lower().endswith(".csv"):
            write_sheet(path, frame)
        else:
            write_table(path, frame, table)
    except OSError as error:
        raise BenchError("output cannot be written", file=path, found=error) from error
