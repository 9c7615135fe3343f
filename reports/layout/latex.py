"""A table for a paper: LaTeX that needs only `booktabs` and `graphicx`.

A table is set as wide as it wants to be and scaled down to the text width if that is a little too
much. Long texts are broken into lines; many rows become several floats of one number, all of one
width; columns that are too many become several parts, each with the first columns again.

Names may have signs of any script, so the engine is LuaLaTeX (`document` is a whole file for it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from reports.layout.naming import broken, columns_of_text, shortened
from reports.layout.report_table import ReportTable, best_cells, shown

LINES_OF_A_PAGE = 50
WRAP_CHARACTERS = 34
WRAP_WIDTH = "15em"
LINE_BREAK = r"\\"
# In footnote size on a page with margins of 25 mm; in a narrower text it is scaled down a little.
WIDTH_CHARACTERS = 100
HEAD_COLUMNS = 24
HEAD_LINES = 3
FLOATS_BETWEEN_PAGES = 8
FALLBACK_FONTS = ("DejaVu Serif", "FreeSerif", "Noto Serif CJK SC", "Noto Sans CJK SC")
ENGINE = "% LuaLaTeX; needs \\usepackage{booktabs}, \\usepackage{graphicx} and fontspec's fonts\n"

_SIGNS = {
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
    # In LaTeX's default font encoding these print as other signs.
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\textbar{}",
    # After a line break these two would be its arguments.
    "[": "{[}",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "·": r"\textperiodcentered{}",
    "×": r"\ensuremath{\times}",
    "≥": r"\ensuremath{\geq}",
    "–": "--",
    "—": "---",
    "−": r"\ensuremath{-}",
}


# Alone a symbol; in a Greek word a letter like its neighbours.
_TAU = re.compile(r"(?<![\u0370-\u03ff\u1f00-\u1fff])τ(?![\u0370-\u03ff\u1f00-\u1fff])")
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
"""Before a number; between letters or digits it is a hyphen."""


def latex_escape(text: str) -> str:
    """Text that LaTeX prints literally (UTF-8 letters stay as they are)."""
    text = _MINUS.sub("−", text)
    return _TAU.sub(r"\\ensuremath{\\tau}", "".join(_SIGNS.get(sign, sign) for sign in text))


def to_latex(table: ReportTable, lines_of_a_page: int = LINES_OF_A_PAGE) -> str:
    """A LaTeX fragment: one float, or several if there is more than fits on a page."""
    parts = _parts(_with_short_heads(table))
    floats: list[str] = []
    for number, part in enumerate(parts):
        floats += _floats(part, lines_of_a_page, number, last=number == len(parts) - 1)
    # TeX holds back only so many floats; a page break sets them.
    for place in range(FLOATS_BETWEEN_PAGES, len(floats), FLOATS_BETWEEN_PAGES):
        floats[place] = "\\clearpage\n" + floats[place]
    return ENGINE + "\n".join(floats)


def document(names: Sequence[str]) -> str:
    """A whole file that sets tables of these names, from `<name>.tex` beside it.

    Signs that Latin Modern lacks come from the fonts named here as far as they are installed.
    """
    return "\n".join(
        [
            "% !TEX program = lualatex",
            "% lualatex all.tex",
            r"\documentclass{article}",
            r"\usepackage{fontspec,booktabs,graphicx}",
            r"\usepackage[margin=25mm]{geometry}",
            r"\def\fallbacks{}",
            r"\def\offer#1{\IfFontExistsTF{#1}{\edef\fallbacks{\fallbacks '#1:mode=harf;',}}{}}",
            *(rf"\offer{{{name}}}" for name in FALLBACK_FONTS),
            r"\ifx\fallbacks\empty\else",
            r"\directlua{luaotfload.add_fallback('scripts', {\fallbacks})}",
            r"\setmainfont{Latin Modern Roman}[RawFeature={fallback=scripts}]",
            r"\fi",
            r"\begin{document}",
            *(rf"\input{{{name}}}\clearpage" for name in names),
            r"\end{document}",
            "",
        ]
    )


def _parts(table: ReportTable) -> list[ReportTable]:
    """The table by columns: each part has the first ones, which say of what a row is, and a share.

    Those are the columns before the first group, or the texts before the first number. Groups, such
    as a measure's columns, stay together where they can.
    """
    widths = _widths(table)
    if sum(widths) <= WIDTH_CHARACTERS:
        return [table]
    grouped = any(c.group for c in table.columns)
    first = next((i for i, c in enumerate(table.columns) if (c.group if grouped else c.right)), 0)
    fixed = list(range(first))
    room = max(WIDTH_CHARACTERS - sum(widths[:first]), 24)
    # Where the first columns fill the page, parts would repeat more than they share.
    if not fixed or (not grouped and room < WIDTH_CHARACTERS / 2):
        return [table]
    shares: list[list[int]] = []
    used = room
    starts = [i for i in range(first, len(table.columns)) if not table.columns[i].beside]
    for start, end in zip(starts, [*starts[1:], len(table.columns)], strict=True):
        width = sum(widths[start:end])
        new_group = bool(shares) and table.columns[start].group != table.columns[start - 1].group
        # A part begins with a group, where that leaves it at least half full.
        if used + width > room or (new_group and used > room / 2):
            shares.append([])
            used = 0
        shares[-1] += range(start, end)
        used += width
    return [_of_columns(table, [*fixed, *share]) for share in shares]


def _widths(table: ReportTable) -> list[int]:
    """Letters that each column takes, with the gap beside it."""
    found = []
    for i, column in enumerate(table.columns):
        longest = max((columns_of_text(shown(row[i], column)) for row in table.rows), default=0)
        head = min(columns_of_text(column.label), 10)
        found.append(max(min(longest, WRAP_CHARACTERS), head) + 2)
    return found


def _of_columns(table: ReportTable, columns: Sequence[int]) -> ReportTable:
    """The table with some of its columns; what is bold in the whole stays bold."""
    best = best_cells(table)
    rows = tuple(tuple(row[i] for i in columns) for row in table.rows)
    kept = {(r, columns.index(c)) for r, c in best if c in columns}
    return replace(
        table, columns=tuple(table.columns[i] for i in columns), rows=rows, bold=frozenset(kept)
    )


def _with_short_heads(table: ReportTable) -> ReportTable:
    """Long names of columns are shortened; a note says what they are."""
    labels = {str(i): column.label for i, column in enumerate(table.columns)}
    once = {label: label for label in labels.values()}
    short = shortened(once, HEAD_COLUMNS * HEAD_LINES // 2)
    cut = {label: name for label, name in short.items() if label != name}
    if not cut:
        return table
    columns = tuple(replace(c, label=short[c.label]) for c in table.columns)
    notes = tuple(f"{name}: {label}." for label, name in cut.items())
    return replace(table, columns=columns, notes=(*table.notes, *notes))


def _floats(table: ReportTable, lines_of_a_page: int, part: int, *, last: bool) -> list[str]:
    """The floats of one part."""
    texts = [[shown(v, c) for v, c in zip(row, table.columns, strict=True)] for row in table.rows]
    wrapped = [
        not column.right
        and max((columns_of_text(row[i]) for row in texts), default=0) > WRAP_CHARACTERS
        for i, column in enumerate(table.columns)
    ]
    best = best_cells(table)
    pages = _pages(table, texts, wrapped, lines_of_a_page)
    # The same invisible row on every page makes its columns as wide as on the others.
    widest = [
        max((row[i] for row in texts), key=columns_of_text, default="") for i in range(len(wrapped))
    ]
    widths = [
        WRAP_CHARACTERS if w else columns_of_text(text)
        for w, text in zip(wrapped, widest, strict=True)
    ]
    heads = _heads(table, widths)
    ruler = " & ".join(
        f"\\hspace{{{WRAP_WIDTH}}}" if w else f"\\hphantom{{\\textbf{{{latex_escape(text)}}}}}"
        for w, text in zip(wrapped, widest, strict=True)
    )
    ruler += r" \\[-\normalbaselineskip]"
    floats = []
    for number, page in enumerate(pages):
        body = [ruler] if len(pages) > 1 else []
        for index in page:
            if (heading := _heading(table, index, first=index == page[0])) is not None:
                body += [r"\addlinespace"] * (index != page[0])
                body.append(f"\\multicolumn{{{len(table.columns)}}}{{l}}{{{heading}}} \\\\")
            cells = [
                _cell(text, wrapped[i], bold=(index, i) in best)
                for i, text in enumerate(texts[index])
            ]
            body.append(" & ".join(cells) + r" \\")
        closing = last and number == len(pages) - 1
        floats.append(_float(table, heads, body, number + part, last=closing))
    return floats


def _pages(
    table: ReportTable, texts: list[list[str]], wrapped: list[bool], lines_of_a_page: int
) -> list[range]:
    """Rows of each page."""
    pages, start, used = [], 0, 0
    for index, row in enumerate(texts):
        lines = max(
            -(-columns_of_text(text) // WRAP_CHARACTERS) if wrap else 1
            for text, wrap in zip(row, wrapped, strict=True)
        )
        lines += 2 * (index in table.blocks)
        if used and used + lines > lines_of_a_page:
            pages.append(range(start, index))
            start, used = index, 0
        used += lines
    return [*pages, range(start, len(texts))]


def _heading(table: ReportTable, index: int, *, first: bool) -> str | None:
    """The name of the block that starts here, or goes on at the top of a page."""
    if index in table.blocks:
        return f"\\textit{{{latex_escape(table.blocks[index])}}}"
    begun = [start for start in table.blocks if start < index]
    if first and begun:
        return f"\\textit{{{latex_escape(table.blocks[max(begun)])} (continued)}}"
    return None


def _cell(text: str, wrap: bool, *, bold: bool) -> str:
    escaped = _breakable(text) if wrap else latex_escape(text)
    if bold:
        return f"\\textbf{{{escaped}}}"
    if wrap:
        return f"\\parbox[t]{{{WRAP_WIDTH}}}{{\\raggedright {escaped}\\strut}}"
    return escaped


def _breakable(text: str) -> str:
    """Text that may also be broken within a word that is longer than a line."""
    pieces = []
    for number, line in enumerate(broken(text, WRAP_CHARACTERS - 6)):
        joined = number > 0 and f" {line}" not in text
        gap = "" if number == 0 else r"\allowbreak{}" if joined else " "
        pieces.append(gap + latex_escape(line))
    return "".join(pieces)


def _float(
    table: ReportTable, heads: list[str], body: list[str], number: int, *, last: bool
) -> str:
    # In print the table has a number of its own; the document's is in the title.
    title = re.sub(r"^Table \d+: ", "", table.title)
    title = title[:1].upper() + title[1:]
    label = re.sub("[^a-z0-9]+", "-", table.name.lower())
    caption = (
        [
            f"\\caption{{{latex_escape(f'{title}. {table.caption}')}}}",
            f"\\label{{tab:{label}}}",
        ]
        if number == 0
        else [r"\addtocounter{table}{-1}", f"\\caption{{{latex_escape(title)} (continued).}}"]
    )
    notes = f"\\par\\smallskip\\footnotesize {latex_escape(' '.join(table.notes))}"
    spec = "".join("r" if c.right else "l" for c in table.columns)
    # Set in a box so that only a table wider than the text is scaled down.
    fit = r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        *caption,
        # Classes leave no room below a caption that stands above its table.
        r"\par\medskip\footnotesize",
        r"\setbox0=\hbox{%",
        f"\\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        *heads,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}%",
        fit,
        *([notes] if table.notes and last else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _heads(table: ReportTable, widths: list[int]) -> list[str]:
    """The head lines: groups with their rules if there are any, then the labels.

    Args:
        table: the table.
        widths: characters of each column's longest value; heads are broken to about that.
    """
    lines = []
    if any(c.group for c in table.columns):
        cells, rules, start = [], [], 0
        while start < len(table.columns):
            group = table.columns[start].group
            end = start + 1
            while end < len(table.columns) and group and table.columns[end].group == group:
                end += 1
            if group:
                head = _stacked(group, sum(widths[start:end]) + 2 * (end - start))
                cells.append(f"\\multicolumn{{{end - start}}}{{c}}{{{head}}}")
                rules.append(f"\\cmidrule(lr){{{start + 1}-{end}}}")
            else:
                cells.append("")
            start = end
        lines += [" & ".join(cells) + r" \\", " ".join(rules)]
    labels = [_stacked(c.label, w) for c, w in zip(table.columns, widths, strict=True)]
    return [*lines, " & ".join(labels) + r" \\"]


def _stacked(text: str, width: int) -> str:
    """A head in lines of about `width` columns."""
    lines = broken(text, max(width, 10))
    escaped = [latex_escape(line) for line in lines]
    if len(escaped) < 2:
        return "".join(escaped)
    return f"\\shortstack{{{LINE_BREAK.join(escaped)}}}"
