"""Score rows as the file that a user asked for, in place of nothing but an earlier one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.errors import BenchError
from evaluation.files.spreadsheets import cells
from evaluation.files.writing import atomic_path
from evaluation.metrics.catalogue import all_metrics
from evaluation.schema import SCORES, scores_table, write_table

SUFFIXES = (".parquet", ".csv")
_FIRST_COLUMNS = ",".join(SCORES.names[:3])


def require_ours(path: Path) -> None:
    """Refuse to write score rows over what is none of ours.

    Raises:
        BenchError: another format, a folder, a device, or a file that holds no score rows.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise BenchError("unknown format of the output", file=path, expected=" or ".join(SUFFIXES))
    if path.is_dir():
        raise BenchError("the output is a folder", file=path, hint="name a file in --out")
    if path.exists() and not path.is_file():
        raise BenchError("the output is no regular file", file=path, hint="name a file in --out")
    if path.is_file() and path.stat().st_size and not _holds_scores(path):
        raise BenchError(
            "the output is there already and holds no score rows of ours",
            file=path,
            hint="it is not overwritten: delete it, or name another file in --out",
        )


def _holds_scores(path: Path) -> bool:
    try:
        if path.name.lower().endswith(".csv"):
            with path.open("rb") as stream:
                return stream.read(200).startswith(_FIRST_COLUMNS.encode())
        return bool(pq.read_schema(path).names[:3] == SCORES.names[:3])
    except (OSError, pa.ArrowException):
        return False


def write_rows(path: Path, frame: pd.DataFrame) -> None:
    """Write score rows as Parquet or CSV, atomically.

    Raises:
        BenchError: as `require_ours`, or the file cannot be written.
    """
    require_ours(path)
    metrics = [name for name in all_metrics() if name in frame.columns]
    try:
        if path.name.lower().endswith(".csv"):
            with atomic_path(path) as temporary:
                cells(frame).to_csv(temporary, index=False)
        else:
            write_table(path, frame, scores_table(metrics))
    except OSError as error:
        raise BenchError("output cannot be written", file=path, found=error) from error
