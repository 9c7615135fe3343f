"""All tables of a run: which there are, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from evaluation.datasets.overlaps import HOW_TO
from evaluation.files import write_text
from reports.source import Protocol, RunSource
from reports.tables.classes import classes_table, datasets_table
from reports.tables.collection import collection_table, specialists_table, vocabulary_table
from reports.tables.latex import to_latex
from reports.tables.overview import (
    differences_table,
    overall_table,
    pairs_table,
    plain_table,
    sensitivity_table,
)
from reports.tables.regions import lesions_table, regions_table
from reports.tables.tabular import NOT_AVAILABLE, Table, to_csv, to_markdown

_UNDER_PROTOCOLS: dict[str, Callable[[RunSource, Protocol], Table | None]] = {
    "Table 2": regions_table,
    "Table 3": partial(classes_table, number=3),
    "Table 4": partial(classes_table, number=4),
    "Table 5": datasets_table,
    "Table 6": lesions_table,
    "overall results": overall_table,
    "paired comparisons": pairs_table,
}
_PLAIN = (
    ("completeness", "Completeness", "What is there of each model and entry."),
    ("cost", "Cost", "Training and prediction; parameters without a frozen text encoder."),
    ("runtime", "Run time", "Seconds by step, model and entry."),
    ("claims", "Claims checked", "Claims of published documents against their own numbers."),
    ("audit", "Leakage audit", f"Links between scans of the run. {HOW_TO}"),
)


def all_tables(source: RunSource) -> tuple[list[Table], dict[str, str]]:
    """Every table that the run has something for; the others by name, with why."""
    made: list[Table] = []
    missing: dict[str, str] = {}
    for what, table in _candidates(source):
        if table is None or not table.rows:
            missing[what] = NOT_AVAILABLE
        else:
            made.append(table)
    return made, missing


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write `<name>.csv`, `.md` and `.tex`; returns the paths."""
    forms = {"csv": to_csv(table), "md": to_markdown(table), "tex": to_latex(table)}
    paths = []
    for suffix, text in forms.items():
        path = folder / f"{table.name}.{suffix}"
        write_text(path, text)
        paths.append(path)
    return paths


def _candidates(source: RunSource) -> Iterator[tuple[str, Table | None]]:
    yield "Table 1", collection_table(source)
    for protocol in source.protocols:
        for what, maker in _UNDER_PROTOCOLS.items():
            yield f"{what} ({protocol.short})", maker(source, protocol)
    yield "Table 7", specialists_table(source)
    yield "Table 8", vocabulary_table(source)
    yield "sensitivity", sensitivity_table(source)
    yield "published numbers beside ours", differences_table(source)
    for name, title, text in _PLAIN:
        yield title.lower(), plain_table(source, name, title, text)
