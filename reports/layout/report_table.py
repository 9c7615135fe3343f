"""One table, and its plain forms: CSV for machines, Markdown and HTML for pages.

`reports.layout.latex` has the form for papers.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from itertools import groupby

from evaluation.files.spreadsheets import cell

Value = float | int | str | None


@dataclass(frozen=True)
class ReportColumn:
    """One column.

    Args:
        key: name in the CSV.
        label: printed head.
        group: printed head above a run of neighbouring columns, if any.
        digits: decimals of numbers; None leaves them as they are (counts, text).
        ranked: name of a competition for bold; columns that share it compete along a row, or,
            in a table whose values compete downwards, rows compete within such a column.
        lower: the lowest value is the best, not the highest.
        right: numbers are set to the right.
        beside: it says something of the column before, from which nothing parts it.
    """

    key: str
    label: str
    group: str = ""
    digits: int | None = None
    ranked: str = ""
    lower: bool = False
    right: bool = False
    beside: bool = False


@dataclass(frozen=True)
class ReportCell:
    """A value with a note in brackets; one that does not compete is never the best."""

    value: Value
    note: str = ""
    competes: bool = True


@dataclass(frozen=True)
class ReportTable:
    """A table ready to be written.

    `rows` hold one value per column. A row that starts a block of rows has its name in `blocks`
    (row index → heading), printed as a line of its own in Markdown and LaTeX. With `downwards`,
    the rows of a block compete within each column; rows in `unranked` (published numbers,
    controls, counts) never compete, and in rows in `lower` the lowest value is the best. `bold`
    are the best cells where they are known already: of some columns of a whole table.
    """

    name: str
    title: str
    caption: str
    columns: tuple[ReportColumn, ...]
    rows: tuple[tuple[Value | ReportCell, ...], ...]
    blocks: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    downwards: bool = False
    unranked: frozenset[int] = frozenset()
    lower: frozenset[int] = frozenset()
    bold: frozenset[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}, row {index}: {len(row)} values")


def shown(value: Value | ReportCell, column: ReportColumn) -> str:
    """A value as printed: fixed decimals, an en dash where there is nothing."""
    note = value.note if isinstance(value, ReportCell) else ""
    value = value.value if isinstance(value, ReportCell) else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        text = "–"
    elif isinstance(value, str):
        text = value
    elif column.digits is not None:
        text = f"{value:.{column.digits}f}"
    else:
        text = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return f"{text} ({note})" if note else text


def best_cells(table: ReportTable) -> set[tuple[int, int]]:
    """(row, column) of every value that is the best among those it competes with.

    Values are compared as printed, so equal numbers are bold together; a lone value is not bold.
    """
    if table.bold is not None:
        return set(table.bold)
    competing: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
    block = 0
    for row_index, row in enumerate(table.rows):
        block += row_index in table.blocks
        if row_index in table.unranked:
            continue
        for index, (column, entry) in enumerate(zip(table.columns, row, strict=True)):
            if isinstance(entry, ReportCell) and not entry.competes:
                continue
            value = entry.value if isinstance(entry, ReportCell) else entry
            if not column.ranked or value is None or isinstance(value, str) or math.isnan(value):
                continue
            rounded = round(float(value), column.digits if column.digits is not None else 6)
            rounded *= -1 if column.lower or row_index in table.lower else 1
            where = (f"{index}", block) if table.downwards else (column.ranked, row_index)
            competing.setdefault(where, {})[row_index, index] = rounded
    best: set[tuple[int, int]] = set()
    for values in competing.values():
        if len(values) > 1:
            top = max(values.values())
            best |= {cell for cell, value in values.items() if value == top}
    return best


def to_csv(table: ReportTable) -> str:
    """CSV with one header line; numbers unrounded, a block's name in its own first column."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    blocks = bool(table.blocks)
    writer.writerow([*(["block"] if blocks else []), *(cell(c.key) for c in table.columns)])
    block = ""
    for index, row in enumerate(table.rows):
        block = table.blocks.get(index, block)
        values = [entry.value if isinstance(entry, ReportCell) else entry for entry in row]
        cleaned = [
            cell(v)
            if isinstance(v, str)
            else ""
            if v is None or (isinstance(v, float) and math.isnan(v))
            else _plain_number(v)
            for v in values
        ]
        writer.writerow([*([cell(block)] if blocks else []), *cleaned])
    return stream.getvalue()


def to_markdown(table: ReportTable) -> str:
    """A Markdown section: title, caption, table, notes."""
    from tabulate import tabulate

    heads = [f"{c.group}: {c.label}" if c.group else c.label for c in table.columns]
    best = best_cells(table)
    lines = []
    for index, row in enumerate(table.rows):
        if index in table.blocks:
            lines.append([f"**{table.blocks[index]}**", *[""] * (len(heads) - 1)])
        printed = [shown(v, c) for v, c in zip(row, table.columns, strict=True)]
        cells = [f"**{text}**" if (index, i) in best else text for i, text in enumerate(printed)]
        lines.append([cell.replace("|", "\\|") for cell in cells])
    body = tabulate(
        lines,
        heads,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right" if c.right else "left" for c in table.columns] if lines else None,
    )
    notes = "".join(f"\n- {note}" for note in table.notes)
    text = f"## {table.title}\n\n{body}\n\n{table.caption}\n"
    return text + (f"{notes}\n" if notes else "")


def _plain_number(value: float | int | str) -> str:
    return (
        format(round(value, 6), "g" if abs(value) >= 1e6 else ".10g")
        if isinstance(value, float)
        else str(value)
    )


def to_html(table: ReportTable) -> str:
    """A plain HTML table (markup escaped) for the pages."""
    from html import escape

    def side(column: ReportColumn) -> str:
        return ' class="right"' if column.right else ""

    best = best_cells(table)
    labels = "".join(f'<th scope="col"{side(c)}>{escape(c.label)}</th>' for c in table.columns)
    heads = f"<tr>{labels}</tr>"
    if any(c.group for c in table.columns):
        runs = [(g, len(list(run))) for g, run in groupby(c.group for c in table.columns)]
        cells_of_groups = "".join(
            f'<th colspan="{n}" scope="colgroup" class="group">{escape(group)}</th>'
            if group
            else "<td></td>" * n
            for group, n in runs
        )
        heads = f"<tr>{cells_of_groups}</tr>{heads}"
    lines = []
    for index, row in enumerate(table.rows):
        if index in table.blocks:
            name = escape(table.blocks[index])
            lines.append(f'<tr><th colspan="{len(table.columns)}">{name}</th></tr>')
        cells = []
        for position, (value, column) in enumerate(zip(row, table.columns, strict=True)):
            text = escape(shown(value, column))
            text = f"<strong>{text}</strong>" if (index, position) in best else text
            cells.append(f"<td{side(column)}>{text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return (
        f"<h2>{escape(table.title)}</h2>\n"
        f'<div class="scroll"><table><thead>{heads}</thead>\n'
        f"<tbody>{chr(10).join(lines)}</tbody></table></div>\n<p>{escape(table.caption)}</p>"
        + (f"\n<ul>{notes}</ul>" if notes else "")
    )
