"""All tables of a run: which there are, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from evaluation.classes import LESION, UNASSIGNED
from evaluation.datasets.overlaps import HOW_TO
from evaluation.files.writing import write_text
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

_PLAIN = (
    ("completeness", "Completeness", "What is there of each model and entry."),
    ("cost", "Cost", "Training and prediction; parameters without a frozen text encoder."),
    ("runtime", "Run time", "Seconds by step, model and entry."),
    ("audit", "Leakage audit", f"Links between scans of the run. {HOW_TO}"),
)
_CLAIMS = ("claims", "Claims checked", "Claims of the paper against its own numbers.")
ONE_MODEL = "fewer than two models compete, there is nothing to compare"
NO_REGION = "no class of the run has a region (`region` of a class in the dataset's card)"
Maker = Callable[[RunSource, Protocol], Table | None]


def all_tables(source: RunSource) -> tuple[list[Table], dict[str, str]]:
    """Every table that the run has something for; the others by name, with why."""
    made: list[Table] = []
    missing: dict[str, str] = {}
    for what, table, why in _candidates(source):
        if table is None or not table.rows:
            missing[what] = why
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


def _candidates(source: RunSource) -> Iterator[tuple[str, Table | None, str]]:
    """(what, table, why there is none); what a run cannot have by its nature is left out."""
    yield "datasets", collection_table(source), NOT_AVAILABLE
    compared = NOT_AVAILABLE if len(source.entrants) > 1 else ONE_MODEL
    for protocol in source.protocols:
        for what, maker, why in _under_protocols(source, compared):
            table = maker(source, protocol)
            if table is not None and source.suffix(protocol):
                table = replace(table, title=f"{table.title} ({protocol.short})")
            yield f"{what} ({protocol.short})", table, why
    specialists = specialists_table(source)
    if specialists is not None:
        yield "specialists", specialists, NOT_AVAILABLE
    yield "classes", vocabulary_table(source), NOT_AVAILABLE
    yield "sensitivity", sensitivity_table(source), compared
    if set(source.published["model"]) & set(source.models):
        yield "published numbers beside ours", differences_table(source), NOT_AVAILABLE
    for name, title, text in (*_PLAIN, *([_CLAIMS] if source.reproduces_paper else [])):
        yield title.lower(), plain_table(source, name, title, text), NOT_AVAILABLE


def _under_protocols(source: RunSource, compared: str) -> Iterator[tuple[str, Maker, str]]:
    placed = NOT_AVAILABLE if set(source.regions) - {UNASSIGNED} else NO_REGION
    yield "region-wise results", regions_table, placed
    if source.reproduces_paper:
        # As the paper prints them, by region and without lesions, which have a table.
        for number in (3, 4):
            yield f"Table {number}", partial(classes_table, number=number), NOT_AVAILABLE
    else:
        yield "class-wise results", classes_table, NOT_AVAILABLE
    yield "dataset-wise results", datasets_table, NOT_AVAILABLE
    if LESION in source.regions:
        yield "lesions", lesions_table, NOT_AVAILABLE
    yield "overall results", overall_table, NOT_AVAILABLE
    yield "paired comparisons", pairs_table, compared
