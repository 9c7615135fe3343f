"""A table for a paper: LaTeX that needs only `booktabs` and `graphicx`.

A table is set as wide as it wants to be and scaled down to the text width if that is too much.
Long texts are broken into lines; many rows become several floats of one number, all of one width.
"""

from __future__ import annotations

import re
import textwrap

from reports.layout.report_table import ReportTable, best_cells, shown

LINES_OF_A_PAGE = 50
WRAP_CHARACTERS = 34
WRAP_WIDTH = "15em"
LINE_BREAK = r"\\"

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
    "`": r"\textasciigrave{}",
    "·": r"\textperiodcentered{}",
    "×": r"\ensuremath{\times}",
    "≥": r"\ensuremath{\geq}",
    "τ": r"\ensuremath{\tau}",
    "–": "--",
    "—": "---",
    "−": r"\ensuremath{-}",
}


_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
"""Before a number; between letters or digits it is a hyphen."""


def latex_escape(text: str) -> str:
    """Text that LaTeX prints literally (UTF-8 letters stay as they are)."""
    text = _MINUS.sub("−", text)
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def to_latex(table: ReportTable, lines_of_a_page: int = LINES_OF_A_PAGE) -> str:
    """A LaTeX fragment: one float, or several if there are more lines than fit on a page."""
    texts = [[shown(v, c) for v, c in zip(row, table.columns, strict=True)] for row in table.rows]
    wrapped = [
        not column.right and max((len(row[i]) for row in texts), default=0) > WRAP_CHARACTERS
        for i, column in enumerate(table.columns)
    ]
    best = best_cells(table)
    pages = _pages(table, texts, wrapped, lines_of_a_page)
    # The same invisible row on every page makes its columns as wide as on the others.
    widest = [max((row[i] for row in texts), key=len, default="") for i in range(len(wrapped))]
    widths = [WRAP_CHARACTERS if w else len(text) for w, text in zip(wrapped, widest, strict=True)]
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
        floats.append(_float(table, heads, body, number, last=number == len(pages) - 1))
    return "% needs \\usepackage{booktabs} and \\usepackage{graphicx}\n" + "\n".join(floats)


def _pages(
    table: ReportTable, texts: list[list[str]], wrapped: list[bool], lines_of_a_page: int
) -> list[range]:
    """Rows of each page."""
    pages, start, used = [], 0, 0
    for index, row in enumerate(texts):
        lines = max(
            -(-len(text) // WRAP_CHARACTERS) if wrap else 1
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
    escaped = latex_escape(text)
    if bold:
        return f"\\textbf{{{escaped}}}"
    if wrap:
        return f"\\parbox[t]{{{WRAP_WIDTH}}}{{\\raggedright {escaped}\\strut}}"
    return escaped


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
    """A head in lines of about `width` characters, words whole."""
    lines = textwrap.wrap(text, max(width, 8), break_long_words=False, break_on_hyphens=False)
    escaped = [latex_escape(line) for line in lines]
    if len(escaped) < 2:
        return "".join(escaped)
    return f"\\shortstack{{{LINE_BREAK.join(escaped)}}}"
