"""All tables of a run: which there are, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from evaluation.classes import LESION, UNASSIGNED
from evaluation.datasets.overlaps import HOW_TO
from evaluation.files.writing import write_text
from evaluation.protocol import COMPOSITIONS, UNRANKED, Protocol
from reports.layout.latex import to_latex
from reports.layout.report_table import ReportTable, to_csv, to_markdown
from reports.source.cases import CaseRows
from reports.source.downstream import after_upstream, answering
from reports.source.run import RunSource
from reports.source.words import (
    INCOMPLETE,
    NO_REGION,
    NOT_AVAILABLE,
    ONE_MODEL,
    many_entries,
    short,
)
from reports.tables.aspects import aspects_table, printed_table
from reports.tables.cases import case_tables
from reports.tables.ceilings import ceilings_table
from reports.tables.classes import (
    classes_table,
    datasets_table,
    merged_classes_table,
    printed_classes_table,
)
from reports.tables.collection import collection_table, specialists_table, vocabulary_table
from reports.tables.comparisons import differences_table, pairs_table, sensitivity_table
from reports.tables.confusions import confusions_table
from reports.tables.costs import costs_table
from reports.tables.downstream import old_entries_table, without_training_table
from reports.tables.lesion_volumes import lesion_volumes_table
from reports.tables.overall import overall_table, ranks_table
from reports.tables.plain import plain_table
from reports.tables.regions import lesions_table, regions_table
from reports.tables.shares import shares_table
from reports.tables.stress import stress_table
from reports.tables.trainings import trainings_table

_PLAIN = (
    ("completeness", "Completeness", "What is there of each model and entry."),
    ("cost", "Cost", "Training and prediction; parameters without a frozen text encoder."),
    ("runtime", "Run time", "Seconds by step, model and entry."),
    ("audit", "Leakage audit", f"Links between scans of the run. {HOW_TO}"),
)
_CLAIMS = ("claims", "Claims checked", "Claims of the document against its own numbers.")
Maker = Callable[[RunSource, Protocol], ReportTable | None]


def all_tables(
    source: RunSource, rows: CaseRows | None = None
) -> tuple[list[ReportTable], dict[str, str]]:
    """Every table that the run has something for; the others by name, with why.

    Args:
        source: the run.
        rows: its single cases, for tables of them.
    """
    made: list[ReportTable] = []
    missing: dict[str, str] = {}
    for what, table, why in _candidates(source, rows):
        if table is None or not table.rows:
            missing[what] = why
        else:
            made.append(table)
    return made, missing


def write_report_table(table: ReportTable, folder: Path) -> list[Path]:
    """Write `<name>.csv`, `.md` and `.tex`; returns the paths."""
    forms = {"csv": to_csv(table), "md": to_markdown(table), "tex": to_latex(table)}
    paths = []
    for suffix, text in forms.items():
        path = folder / f"{table.name}.{suffix}"
        write_text(path, text)
        paths.append(path)
    return paths


def _candidates(
    source: RunSource, rows: CaseRows | None
) -> Iterator[tuple[str, ReportTable | None, str]]:
    """(what, table, why there is none); what a run cannot have by its nature is left out."""
    compared = NOT_AVAILABLE if len(source.entrants) > 1 else ONE_MODEL
    for protocol in source.protocols:
        for what, maker, why in _under_protocols(source, protocol, compared):
            table = maker(source, protocol)
            if table is not None and protocol.space in UNRANKED:
                columns = tuple(replace(column, ranked="") for column in table.columns)
                table = replace(table, columns=columns)
            if table is not None and source.suffix(protocol):
                table = replace(table, title=f"{table.title} ({short(source, protocol)})")
            yield f"{what} ({short(source, protocol)})", table, why
    if rows is not None and source.protocols:
        headline = source.protocols[0]
        if why := many_entries(source):
            yield "every case", None, why
        for table in () if why else case_tables(source, headline, rows):
            yield table.name, table, NOT_AVAILABLE
    yield "datasets", collection_table(source), NOT_AVAILABLE
    specialists = specialists_table(source)
    if specialists is not None:
        yield "specialists", specialists, NOT_AVAILABLE
    yield "classes", vocabulary_table(source), NOT_AVAILABLE
    if (judged := source.table("confusions")) is not None and len(judged):
        yield "sides and neighbours", confusions_table(source), NOT_AVAILABLE
    if (counted := source.table("lesion_volumes")) is not None and len(counted):
        yield "recall by lesion volume", lesion_volumes_table(source), NOT_AVAILABLE
    if source.study.published.costs is not None:
        yield "cost beside published", costs_table(source), NOT_AVAILABLE
    if source.table("raters") is not None:
        yield "raters and models", ceilings_table(source), NOT_AVAILABLE
    if source.table("stress") is not None:
        yield "prompts under stress", stress_table(source), NOT_AVAILABLE
    yield "sensitivity", sensitivity_table(source), compared
    if set(source.published["model"]) & set(source.models):
        yield "published numbers beside ours", differences_table(source), NOT_AVAILABLE
    claims = source.reproduces_study and source.study.published.claims is not None
    for name, title, text in (*_PLAIN, *([_CLAIMS] if claims else [])):
        yield title.lower(), plain_table(source, name, title, text), NOT_AVAILABLE


def _under_protocols(
    source: RunSource, protocol: Protocol, compared: str
) -> Iterator[tuple[str, Maker, str]]:
    placed = NOT_AVAILABLE if set(source.regions) - {UNASSIGNED} else NO_REGION
    for composition in COMPOSITIONS:
        what = "region-wise results" + f", {composition}" * (composition != "all")
        yield what, partial(regions_table, composition=composition), placed
    printed = source.study.tables_about("class") if source.reproduces_study else ()
    # As the document prints them, by region and without lesions, which have a table.
    for table in printed:
        yield table.head, partial(classes_table, printed_table=table), NOT_AVAILABLE
        as_printed = partial(printed_classes_table, printed_table=table)
        yield f"{table.head} as printed", as_printed, NOT_AVAILABLE
    if not printed:
        yield "class-wise results", classes_table, NOT_AVAILABLE
    if source.merged_classes or printed:
        yield "class-wise results, modalities merged", merged_classes_table, NOT_AVAILABLE
    yield "dataset-wise results", datasets_table, NOT_AVAILABLE
    if source.aspects:
        yield "aspects", aspects_table, NOT_AVAILABLE
    for table in source.study.printed_tables:
        if table.by_model and protocol == source.study_protocol:
            yield table.head, partial(printed_table, table=table), NOT_AVAILABLE
    if LESION in source.regions:
        yield "lesions", lesions_table, NOT_AVAILABLE
    yield "overall results", overall_table, NOT_AVAILABLE
    if any("share" in variant.changes for variant in source.config.variants.values()):
        yield "shares of the training patients", shares_table, NOT_AVAILABLE
    if any(models for _, models in after_upstream(source)):
        yield "old entries after further training", old_entries_table, NOT_AVAILABLE
    if any(answering(source)):
        yield "entries without training", without_training_table, NOT_AVAILABLE
    if any(len(variant.seeds) > 1 for variant in source.config.variants.values()):
        yield "chance of the training", trainings_table, NOT_AVAILABLE
    if source.ranked and protocol.space not in UNRANKED:
        yield "ranks", ranks_table, INCOMPLETE if compared == NOT_AVAILABLE else compared
        yield "paired comparisons", pairs_table, compared
