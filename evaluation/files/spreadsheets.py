"""CSV for people: texts from outside are cells that no spreadsheet takes for a formula.

Every CSV that somebody may open in a spreadsheet is written here, or cell by cell by `cell`. What
only later steps of a run read (splits, statuses, logs) keeps its texts as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.errors import printable
from evaluation.files.writing import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# The wide forms too: some spreadsheets read them as the signs themselves.
_SIGNS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def cell(text: str) -> str:
    """The text as a cell of a CSV file that no spreadsheet takes for a formula.

    An apostrophe before the sign is what spreadsheets themselves use to say that this is text.
    Control characters, but for the end of a line, are shown as escapes.
    """
    shown = printable(text, keep="\n")
    if shown.lstrip().startswith(_SIGNS) and not _NUMBER.fullmatch(shown):
        return f"'{shown}"
    return shown


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its heads and texts as cells of a CSV file."""
    texts = frame.select_dtypes(include=["object", "string", "category"]).columns
    safe = {
        name: frame[name].map(lambda value: cell(value) if isinstance(value, str) else value)
        for name in texts
    }
    return frame.assign(**safe).rename(columns=lambda name: cell(str(name)))


def arrow_cells(table: pa.Table) -> pa.Table:
    """The same of an Arrow table."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            coded = table.column(index).combine_chunks().dictionary_encode()
            words = pa.array([cell(text) for text in coded.dictionary.to_pylist()], field.type)
            safe = pa.DictionaryArray.from_arrays(coded.indices, words).dictionary_decode()
            table = table.set_column(index, field, safe)
    return table


def sheet_text(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """The table as CSV without its index."""
    text: str = cells(frame).to_csv(index=False, lineterminator="\n", float_format=float_format)
    return text


def write_sheet(path: Path, frame: pd.DataFrame, float_format: str | None = None) -> None:
    """Write the table as CSV without its index, atomically."""
    with atomic_path(path) as temporary:
        cells(frame).to_csv(temporary, index=False, lineterminator="\n", float_format=float_format)
