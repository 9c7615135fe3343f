"""The contract of every table: columns, types, units, meanings, allowed values.

A table is written only if it fits its schema, and the schema travels inside the Parquet file
(descriptions and units as field metadata), so a file explains itself far from the run.
The tables themselves are declared in `evaluation.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.errors import BenchError, did_you_mean
from evaluation.files.writing import atomic_path

SCHEMA_VERSION = "1"
_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "count": pa.int64(),
    "flag": pa.bool_(),
}


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: column name.
        type: `text` (never null, `""` = none), `number` (NaN = not defined), `count` (whole
            number, never null) or `flag`.
        description: what the value means.
        unit: physical unit or range; empty where there is none.
        allowed: the only values that may occur (text columns); empty = any.
    """

    name: str
    type: str
    description: str
    unit: str = ""
    allowed: tuple[str, ...] = ()

    @property
    def field(self) -> pa.Field:
        """The column as a pyarrow field with its description and unit as metadata."""
        metadata = {"description": self.description, "unit": self.unit}
        if self.allowed:
            metadata["allowed"] = " ".join(self.allowed)
        return pa.field(self.name, _TYPES[self.type], nullable=False, metadata=metadata)


@dataclass(frozen=True)
class Table:
    """A named table: what one row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def schema(self) -> pa.Schema:
        """The pyarrow schema with all metadata."""
        metadata = {"table": self.name, "row": self.row, "schema_version": SCHEMA_VERSION}
        return pa.schema([column.field for column in self.columns], metadata=metadata)

    def empty(self) -> pd.DataFrame:
        """A frame with these columns and no rows."""
        frame: pd.DataFrame = self.schema.empty_table().to_pandas()
        return frame


def to_arrow(frame: pd.DataFrame, table: Table, file: Path | str | None = None) -> pa.Table:
    """Check a frame against a table and convert it, columns in the table's order.

    Categorical columns count as text. Raises:
        BenchError: columns are missing or unknown, a type does not fit, a text, count or flag
            is null, or a value is not among the allowed ones.
    """
    missing = [name for name in table.names if name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in table.names]
    if missing or unknown:
        raise BenchError(
            f"columns do not fit the table `{table.name}`",
            file=file,
            found=f"missing {missing}, unknown {unknown}",
            expected=", ".join(table.names),
            hint=did_you_mean(unknown[0], table.names) if unknown else None,
        )
    arrays = []
    for column in table.columns:
        try:
            array = _to_array(frame[column.name], column)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise BenchError(
                f"table `{table.name}`, column `{column.name}`: values do not fit",
                file=file,
                found=error,
                expected=column.type,
            ) from error
        arrays.append(array)
        _check_values(array, column, table, file)
    return pa.Table.from_arrays(arrays, schema=table.schema)


def _to_array(series: pd.Series[Any], column: Column) -> pa.Array:
    if isinstance(series.dtype, pd.CategoricalDtype):
        array = pa.array(series, from_pandas=True).dictionary_decode()
    else:
        array = pa.array(series, from_pandas=column.type != "number")
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    wanted = _TYPES[column.type]
    if column.type == "text" and not (
        pa.types.is_string(array.type)
        or pa.types.is_large_string(array.type)
        or pa.types.is_null(array.type)
    ):
        raise pa.ArrowTypeError(f"{array.type} is not text")
    return array if array.type == wanted else array.cast(wanted)


def _check_values(array: pa.Array, column: Column, table: Table, file: Path | str | None) -> None:
    if array.null_count:
        raise BenchError(
            f"table `{table.name}`, column `{column.name}`: {array.null_count} values are null",
            file=file,
            expected={"text": "text (`` = none)", "number": "numbers (NaN = not defined)"}.get(
                column.type, column.type
            ),
        )
    if column.allowed:
        found = set(pc.unique(array).to_pylist())
        if not found <= set(column.allowed):
            raise BenchError(
                f"table `{table.name}`, column `{column.name}`: unknown values",
                file=file,
                found=", ".join(sorted(found - set(column.allowed))),
                expected=", ".join(column.allowed),
            )


def write_table(path: Path, frame: pd.DataFrame, table: Table) -> None:
    """Check a frame against its table and write it as Parquet, atomically."""
    arrow = to_arrow(frame, table, path)
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd", write_page_checksum=True)


def read_table(
    path: Path, table: Table, columns: Sequence[str] | None = None, *, categories: bool = False
) -> pd.DataFrame:
    """Read a table and check that the file holds the columns and types of its schema.

    Args:
        path: the Parquet file.
        table: its contract.
        columns: read only these; default all.
        categories: text columns as pandas categories (quick for a hundred thousand rows).

    Raises:
        BenchError: no such file, not Parquet, or other columns or types.
    """
    try:
        arrow = arrow_of(path, columns)
    except FileNotFoundError as error:
        raise BenchError(
            f"table `{table.name}` is not there", file=path, hint="run `satbench aggregate`"
        ) from error
    wanted = [c for c in table.columns if columns is None or c.name in columns]
    there = {field.name: field.type for field in arrow.schema}
    faults = [
        f"{c.name}: {there.get(c.name, 'missing')}"
        for c in wanted
        if there.get(c.name) != _TYPES[c.type]
    ]
    if faults:
        raise BenchError(
            f"file does not hold the table `{table.name}`",
            file=path,
            found="; ".join(faults),
            expected=", ".join(f"{c.name} {_TYPES[c.type]}" for c in wanted),
            hint="written by another version? make it anew",
        )
    arrow = arrow.select([c.name for c in wanted])
    text = [c.name for c in wanted if c.type == "text"] if categories else []
    frame: pd.DataFrame = arrow.to_pandas(categories=text)
    return frame


def arrow_of(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """What a Parquet file holds, whatever table it is.

    Raises:
        BenchError: it is damaged, no Parquet, or too large.
        FileNotFoundError: there is none.
    """
    try:
        chosen = list(columns) if columns is not None else None
        require_room(path, chosen)
        return pq.read_table(path, columns=chosen, page_checksum_verification=True)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise BenchError("not a readable Parquet file", file=path, found=error) from error


def require_room(path: Path, columns: Sequence[str] | None = None) -> None:
    """Refuse a Parquet file that would take all memory: few bytes can stand for many rows.

    Raises:
        BenchError: no regular file (to open a pipe would wait for ever), or too many rows.
        ArrowException, OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise BenchError("not a regular file", file=path, expected="a table in Parquet")
    shape = pq.read_metadata(path)
    needed = 8 * shape.num_rows * (shape.num_columns if columns is None else len(columns))
    if needed > (free := psutil.virtual_memory().available):
        raise BenchError(
            "table does not fit into memory",
            file=path,
            found=f"{shape.num_rows} rows: {needed >> 20} MiB or more",
            expected=f"at most {free >> 20} MiB",
        )


def spacing_text(spacing_mm: Sequence[float]) -> str:
    """The form of `spacing_mm` in score rows: `1x1x3`, rounded to 1e-5 mm."""
    return "x".join(f"{round(float(value), 5):g}" for value in spacing_mm)


def spacing_from_text(text: str) -> tuple[float, ...]:
    """Spacing in mm along x, y, z from a score row (`1x1x3`)."""
    return tuple(float(part) for part in text.split("x"))


def data_dictionary(tables: Sequence[Table]) -> pd.DataFrame:
    """One line per table and column: table, row, column, type, unit, allowed, description."""
    return pd.DataFrame(
        [
            {
                "table": table.name,
                "row": table.row,
                "column": column.name,
                "type": column.type,
                "unit": column.unit,
                "allowed": " ".join(column.allowed),
                "description": column.description,
            }
            for table in tables
            for column in table.columns
        ]
    )
