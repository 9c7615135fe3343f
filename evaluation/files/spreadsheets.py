"""Texts from outside as cells that no spreadsheet takes for a formula."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from evaluation.errors import printable

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def cell(text: str) -> str:
    """The text as a cell of a CSV file that no spreadsheet takes for a formula.

    An apostrophe before the sign is what spreadsheets themselves use to say that this is text.
    """
    shown = printable(text, keep="\n")
    if shown.startswith(("=", "+", "-", "@")) and not _NUMBER.fullmatch(shown):
        return f"'{shown}"
    return shown


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts as cells of a CSV file."""
    texts = frame.select_dtypes(include=["object", "string", "category"]).columns
    safe = {
        name: frame[name].map(lambda value: cell(value) if isinstance(value, str) else value)
        for name in texts
    }
    return frame.assign(**safe)
