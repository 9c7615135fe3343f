"""One table in three forms: CSV for machines, Markdown for pages, LaTeX (booktabs) for papers."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.files import write_text

NOT_RUN = "not run"
NOT_AVAILABLE = "not available"
Value = float | int | str | None

_LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"\textperiodcentered{}",
    "×": r"\ensuremath{\times}",
    "≥": r"\ensuremath{\geq}",
    "τ": r"\ensuremath{\tau}",
    "–": "--",
    "—": "---",
    "−": r"\ensuremath{-}",
}


def latex_escape(text: str) -> str:
    """Text that LaTeX prints literally (UTF-8 letters stay as they are)."""
    return "".join(_LATEX_SIGNS.get(sign, sign) for sign in text)


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        key: name in the CSV.
        label: printed head.
        group: printed head above a run of neighbouring columns, if any.
        digits: decimals of numbers; None leaves them as they are (counts, text).
        ranked: name of a competition for bold; columns that share it compete along a row, or,
            in a table whose values compete downwards, rows compete within such a column.
        right: numbers are set to the right.
    """

    key: str
    label: str
    group: str = ""
    digits: int | None = None
    ranked: str = ""
    right: bool = False


@dataclass(frozen=True)
class Cell:
    """A value that needs more than a number: a note in brackets, or its own bold."""

    value: Value
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be written.

    `rows` hold one value per column. A row that starts a block of rows has its name in `blocks`
    (row index → heading), printed as a line of its own in Markdown and LaTeX. With `downwards`,
    the rows of a block compete within each column; rows in `unranked` (published numbers,
    controls, counts) never compete.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value | Cell, ...], ...]
    blocks: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    downwards: bool = False
    unranked: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}, row {index}: {len(row)} values")


def shown(value: Value | Cell, column: Column) -> str:
    """A value as printed: fixed decimals, an en dash where there is nothing."""
    note = value.note if isinstance(value, Cell) else ""
    value = value.value if isinstance(value, Cell) else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        text = "–"
    elif isinstance(value, str):
        text = value
    elif column.digits is not None:
        text = f"{value:.{column.digits}f}"
    else:
        text = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return f"{text} ({note})" if note else text


def best_cells(table: Table) -> set[tuple[int, int]]:
    """(row, column) of every value that is the highest among those it competes with.

    Values are compared as printed, so equal numbers are bold together; a lone value is not bold.
    """
    competing: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
    block = 0
    for row_index, row in enumerate(table.rows):
        block += row_index in table.blocks
        if row_index in table.unranked:
            continue
        for index, (column, entry) in enumerate(zip(table.columns, row, strict=True)):
            value = entry.value if isinstance(entry, Cell) else entry
            if not column.ranked or value is None or isinstance(value, str) or math.isnan(value):
                continue
            rounded = round(float(value), column.digits if column.digits is not None else 6)
            where = (f"{index}", block) if table.downwards else (column.ranked, row_index)
            competing.setdefault(where, {})[row_index, index] = rounded
    best: set[tuple[int, int]] = set()
    for values in competing.values():
        if len(values) > 1:
            top = max(values.values())
            best |= {cell for cell, value in values.items() if value == top}
    return best


def to_csv(table: Table) -> str:
    """CSV with one header line; numbers unrounded, a block's name in its own first column."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    blocks = bool(table.blocks)
    writer.writerow([*(["block"] if blocks else []), *(c.key for c in table.columns)])
    block = ""
    for index, row in enumerate(table.rows):
        block = table.blocks.get(index, block)
        values = [entry.value if isinstance(entry, Cell) else entry for entry in row]
        cleaned = [
            "" if v is None or (isinstance(v, float) and math.isnan(v)) else _plain_number(v)
            for v in values
        ]
        writer.writerow([*([block] if blocks else []), *cleaned])
    return stream.getvalue()


def to_markdown(table: Table) -> str:
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


def to_latex(table: Table, rows_of_a_page: int = 45) -> str:
    """A LaTeX fragment that needs only `booktabs` (and `longtable` above a page's rows)."""
    long = len(table.rows) + len(table.blocks) > rows_of_a_page
    spec = "".join("r" if c.right else "l" for c in table.columns)
    heads = _latex_heads(table)
    caption = f"\\caption{{{latex_escape(table.title + '. ' + table.caption)}}}"
    label = f"\\label{{tab:{re.sub('[^a-z0-9]+', '-', table.name.lower())}}}"
    best = best_cells(table)
    body: list[str] = []
    for index, row in enumerate(table.rows):
        if index in table.blocks:
            if index:
                body.append(r"\addlinespace")
            name = latex_escape(table.blocks[index])
            body.append(f"\\multicolumn{{{len(spec)}}}{{l}}{{\\textit{{{name}}}}} \\\\")
        cells = [latex_escape(shown(v, c)) for v, c in zip(row, table.columns, strict=True)]
        bold = [f"\\textbf{{{t}}}" if (index, i) in best else t for i, t in enumerate(cells)]
        body.append(" & ".join(bold) + r" \\")
    notes = [f"\\par\\smallskip\\footnotesize {latex_escape(' '.join(table.notes))}"]
    notes = notes if table.notes else []
    packages = "% needs \\usepackage{booktabs}" + (" and \\usepackage{longtable}" if long else "")
    if long:
        lines = [
            packages,
            r"{\footnotesize",
            f"\\begin{{longtable}}{{{spec}}}",
            caption + label + r" \\",
            r"\toprule",
            *heads,
            r"\midrule",
            r"\endfirsthead",
            r"\toprule",
            *heads,
            r"\midrule",
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *body,
            r"\end{longtable}",
            *notes,
            "}",
        ]
    else:
        # Set in a box so that only a table wider than the text is scaled down.
        fit = r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
        lines = [
            packages.replace("{booktabs}", "{booktabs} and \\usepackage{graphicx}"),
            r"\begin{table}[htbp]",
            r"\centering",
            caption,
            label,
            r"\footnotesize",
            r"\setbox0=\hbox{%",
            f"\\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            *heads,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}%",
            fit,
            *notes,
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write `<name>.csv`, `.md` and `.tex`; returns the paths."""
    forms = {"csv": to_csv(table), "md": to_markdown(table), "tex": to_latex(table)}
    paths = []
    for suffix, text in forms.items():
        path = folder / f"{table.name}.{suffix}"
        write_text(path, text)
        paths.append(path)
    return paths


def _plain_number(value: float | int | str) -> str:
    return (
        format(round(value, 6), "g" if abs(value) >= 1e6 else ".10g")
        if isinstance(value, float)
        else str(value)
    )


def _latex_heads(table: Table) -> list[str]:
    """The head lines: groups with their rules if there are any, then the labels."""
    lines = []
    if any(c.group for c in table.columns):
        cells, rules, start = [], [], 0
        while start < len(table.columns):
            group = table.columns[start].group
            end = start + 1
            while end < len(table.columns) and group and table.columns[end].group == group:
                end += 1
            if group:
                cells.append(f"\\multicolumn{{{end - start}}}{{c}}{{{latex_escape(group)}}}")
                rules.append(f"\\cmidrule(lr){{{start + 1}-{end}}}")
            else:
                cells.append("")
            start = end
        lines += [" & ".join(cells) + r" \\", " ".join(rules)]
    lines.append(" & ".join(latex_escape(c.label) for c in table.columns) + r" \\")
    return lines


def to_html(table: Table) -> str:
    """A plain HTML table (markup escaped) for the pages."""
    from html import escape

    def side(column: Column) -> str:
        return ' class="right"' if column.right else ""

    best = best_cells(table)
    heads = "".join(
        f'<th scope="col"{side(c)}>{escape(f"{c.group}: {c.label}" if c.group else c.label)}</th>'
        for c in table.columns
    )
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
    return (
        f"<h2>{escape(table.title)}</h2>\n"
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{chr(10).join(lines)}</tbody></table></div>\n<p>{escape(table.caption)}</p>"
    )
