"""The notebook, run cell by cell in this process, and its page with what the cells printed."""

from __future__ import annotations

import ast
import io
from contextlib import redirect_stdout
from pathlib import Path

import nbformat

NOTEBOOK = Path(__file__).parent / "scores.ipynb"


def page() -> str:
    """The notebook as Markdown: its text, its code and the output of a run of it now."""
    blocks, names = [], {"__name__": "notebook"}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "markdown":
            blocks.append(cell.source)
            continue
        blocks.append(f"```python\n{cell.source}\n```")
        printed = _run(cell.source, names)
        if printed:
            blocks.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(blocks) + "\n"


def _run(source: str, names: dict[str, object]) -> str:
    """Run a cell; what it prints and, as a notebook shows it, the value of its last line."""
    tree, last = ast.parse(source), None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, str(NOTEBOOK), "exec"), names)  # noqa: S102 - it is our own notebook
        value = last and eval(compile(last, str(NOTEBOOK), "eval"), names)  # noqa: S307
    return printed.getvalue() + ("" if value is None else f"{value}\n")
