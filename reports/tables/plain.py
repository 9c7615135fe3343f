"""Result tables as they are: what was run, costs, times, links, and any that others add."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.layout.report_table import ReportCell, ReportColumn, ReportTable, Value
from reports.source.run import RunSource
from reports.source.words import NOT_MEASURED

_COSTS = {"seconds", "train_seconds", "predict_seconds_per_case", "peak_memory_mib"}


def plain_table(source: RunSource, name: str, title: str, text: str) -> ReportTable | None:
    """A result table as it is, columns that never change left out (they are in the caption)."""
    frame = source.table(name)
    if frame is None or frame.empty:
        return None
    constant = [c for c in frame.columns if c == "data_kind"]
    frame = frame.drop(columns=constant)
    if "model" in frame.columns:
        frame = frame.assign(model=frame["model"].map(lambda m: source.model_title(str(m))))
    whole = [c for c in ("parameters",) if c in frame.columns]
    frame = frame.astype(dict.fromkeys(whole, "Int64"))
    columns = []
    for column in frame.columns:
        number = pd.api.types.is_float_dtype(frame[column])
        right = pd.api.types.is_numeric_dtype(frame[column])
        label = str(column).replace("_", " ")
        columns.append(ReportColumn(str(column), label, digits=3 if number else None, right=right))
    keys = [str(column) for column in frame.columns]
    rows = tuple(
        tuple(_measured(key, v) for key, v in zip(keys, row, strict=True))
        for row in frame.itertuples(index=False)
    )
    return ReportTable(name, title, text, tuple(columns), rows)


def _measured(column: str, value: Any) -> Value | ReportCell:
    """A cost that nobody measured says so."""
    return ReportCell(None, NOT_MEASURED) if column in _COSTS and pd.isna(value) else _plain(value)


def _plain(value: Any) -> Value:
    if type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    if value is pd.NA:
        return ""
    return value if isinstance(value, (int, float)) else str(value)
