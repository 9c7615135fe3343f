"""A row for each class or entry, published columns beside ours."""

from __future__ import annotations

from evaluation.protocol import Protocol
from evaluation.studies.record import PrintedTable
from reports.layout.report_table import ReportColumn, ReportTable
from reports.source.published import Lookup, published_lookup
from reports.source.run import RunSource, rows_by
from reports.source.words import (
    NOT_RUN,
    REGION_ORDER,
    caption,
    counts,
    modality_title,
    region_title,
)
from reports.tables.scores import Line, of_expected, score_columns, score_values


def classes_table(
    source: RunSource, protocol: Protocol, printed_table: PrintedTable | None = None
) -> ReportTable | None:
    """Class-wise means over entries, a block for each region, classes without one at the end.

    Args:
        source: the run.
        protocol: of the numbers.
        printed_table: only the regions of this table of the study's document; None = all.
    """
    frame = source.pick("class", protocol)
    if frame is None:
        return None
    wanted = [r for r in REGION_ORDER if printed_table is None or r in printed_table.regions]
    frame = frame[(frame["modality"] != "any") & frame["region"].isin(wanted)]
    printed = published_lookup(source, "class")
    keys = ("model", "class", "modality")
    values = rows_by(frame, *keys), source.own_rows(protocol, "class", *keys)
    rows: list[Line] = []
    blocks: dict[int, str] = {}
    for region in wanted:
        part = frame[frame["region"] == region]
        if len(part):
            blocks[len(rows)] = region_title(region)
        for (modality, name), group in part.groupby(["modality", "class"], observed=True):
            first = (
                modality_title(str(modality)),
                str(name),
                counts(group["n_cases"]),
                counts(group["n_patients"]),
                of_expected(group, "entries"),
            )
            key = (str(name), str(modality))
            rows.append((*first, *score_values(source, protocol, values, printed, key)))
    name, title = "classes", "Class-wise results"
    if printed_table is not None:
        name = f"classes_{printed_table.id}"
        regions = ", ".join(r for r in wanted if r in source.regions)
        title = f"{printed_table.head}: class-wise results ({regions})"
    return ReportTable(
        name=f"{name}{source.suffix(protocol)}",
        title=title,
        caption=caption(
            source,
            protocol,
            "Mean over scans of an entry, then over the entries that have the class.",
            published=bool(printed),
        ),
        columns=(
            ReportColumn("modality", "Modality"),
            ReportColumn("class", "Target"),
            ReportColumn("n_cases", "Scans", right=True),
            ReportColumn("n_patients", "Patients", right=True),
            ReportColumn("entries", "Entries", right=True),
            *score_columns(source, protocol, printed),
        ),
        rows=tuple(rows),
        blocks=blocks,
        notes=(
            (
                "Entries: those in the mean of those that the run asks for. Generated classes are "
                "taken as predicted directly where a model does so, otherwise as unions of parts."
            ),
        ),
    )


def datasets_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Dataset-wise means; entries without data are rows that say so."""
    frame = source.pick("dataset", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "dataset")
    values = (
        rows_by(frame, "model", "dataset"),
        source.own_rows(protocol, "dataset", "model", "dataset"),
    )
    rows: list[Line] = []
    extra = sorted(set(frame["dataset"]) - set(source.dataset_cards))
    cards = sorted(source.dataset_cards, key=lambda d: source.dataset_title(d).lower())
    for dataset in [*cards, *extra]:
        group = frame[frame["dataset"] == dataset]
        card = source.dataset_cards.get(dataset)
        modality = card.modality if card else str(group["modality"].iloc[0])
        sizes = [of_expected(group, "cases"), counts(group["n_patients"])]
        sizes = [*sizes, of_expected(group, "classes")] if len(group) else [NOT_RUN] * 3
        theirs = (dataset, _modality_of(printed, dataset, modality))
        rows.append(
            (
                source.dataset_title(dataset),
                modality_title(modality),
                *sizes,
                *score_values(source, protocol, values, printed, (dataset,), theirs),
            )
        )
    return ReportTable(
        name=f"datasets{source.suffix(protocol)}",
        title=source.numbered("dataset", "Dataset-wise results"),
        caption=caption(
            source,
            protocol,
            "Mean over scans, then over the classes of an entry.",
            published=bool(printed),
        ),
        columns=(
            ReportColumn("dataset", "Dataset"),
            ReportColumn("modality", "Modality"),
            ReportColumn("n_cases", "Scans", right=True),
            ReportColumn("n_patients", "Patients", right=True),
            ReportColumn("classes", "Classes", right=True),
            *score_columns(source, protocol, printed),
        ),
        rows=tuple(rows),
        notes=tuple(
            f"Not run: {source.dataset_title(d)} ({reason})."
            for d, reason in source.not_run.items()
        ),
    )


def _modality_of(printed: Lookup, key: str, fallback: str) -> str:
    return next((k[1] for k in printed if k[0] == key), fallback)
