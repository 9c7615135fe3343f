"""A row for each class or entry, published columns beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from evaluation.classes import region_of
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
    listed,
    modality_title,
    region_title,
)
from reports.tables.scores import Line, of_expected, of_whole_classes, score_columns, score_values


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
    name, title = "classes", "Class-wise results"
    if printed_table is not None:
        name = f"classes_{printed_table.id}"
        regions = ", ".join(r for r in wanted if r in source.regions)
        title = f"{printed_table.head}: class-wise results ({regions})"
    return _classes(
        source,
        protocol,
        name,
        title,
        "Mean over scans of an entry, then over the entries that have the class.",
        [
            Place(region, str(name), str(modality), modality_title(str(modality)), str(name), group)
            for region in wanted
            for (modality, name), group in frame[frame["region"] == region].groupby(
                ["modality", "class"], observed=True
            )
        ],
    )


def merged_classes_table(source: RunSource, protocol: Protocol) -> ReportTable | None:
    """Classes by name alone: a class that several modalities have is the mean of theirs."""
    frame = source.pick("class", protocol)
    if frame is None:
        return None
    places = []
    for name, rows in frame.astype({"class": str, "modality": str}).groupby("class"):
        modalities = sorted(set(rows["modality"]) - {"any"})
        key = "any" if len(modalities) > 1 else modalities[0]
        merged, titles = rows[rows["modality"] == key], map(modality_title, modalities)
        region = str(merged["region"].iloc[0])
        places.append(Place(region, str(name), key, listed(titles), str(name), merged))
    places.sort(key=lambda place: (REGION_ORDER.index(place.region), place.of_class))
    return _classes(
        source,
        protocol,
        "classes_merged",
        "Class-wise results, modalities merged",
        "Mean over scans of an entry, then over the entries of a modality, then over modalities.",
        places,
    )


def printed_classes_table(
    source: RunSource, protocol: Protocol, printed_table: PrintedTable
) -> ReportTable | None:
    """The rows of a table of the document in its own order and grouping, named as it does."""
    frame = source.pick("class", protocol)
    if frame is None:
        return None
    numbers = source.published[source.published["scope"] == "class"]
    numbers = numbers[numbers["table"].astype(str) == str(printed_table.id)]
    rows: Any = numbers.drop_duplicates("row").sort_values("row", kind="stable")
    groups: Any = dict(iter(frame.groupby(["modality", "class"], observed=True)))
    places = []
    for printed, name, modality in zip(
        rows["printed_row"], rows["key"], rows["modality"], strict=True
    ):
        region = region_of(modality, name, "as-printed")
        group = groups.get((modality, name), frame.iloc[:0])
        places.append(Place(region, name, modality, modality_title(modality), printed, group))
    # A row that stands among those of another region (scapula) goes to its own.
    places.sort(key=lambda place: REGION_ORDER.index(place.region))
    return _classes(
        source,
        protocol,
        f"classes_{printed_table.id}_printed",
        f"{printed_table.head}: class-wise results, rows and regions as printed",
        "Mean over scans of an entry, then over the entries that have the class.",
        places,
    )


class Place(NamedTuple):
    """A row: its region, its key (class and modality), what is printed of the key, its values."""

    region: str
    of_class: str
    modality: str
    modality_title: str
    title: str
    values: pd.DataFrame


def _classes(
    source: RunSource, protocol: Protocol, name: str, title: str, what: str, places: Sequence[Place]
) -> ReportTable:
    """A row for each class; `places` of one region follow each other."""
    printed = published_lookup(source, "class")
    keys = ("model", "class", "modality")
    frame = source.pick("class", protocol)
    assert frame is not None
    values = rows_by(frame, *keys), source.own_rows(protocol, "class", *keys)
    rows: list[Line] = []
    blocks: dict[int, str] = {}
    before = ""
    for place in places:
        if place.region != before:
            blocks[len(rows)], before = region_title(place.region), place.region
        sizes = [counts(place.values["n_cases"]), counts(place.values["n_patients"])]
        sizes = [*sizes, of_expected(place.values, "entries")]
        rows.append(
            (
                place.modality_title,
                place.title,
                *(sizes if len(place.values) else [NOT_RUN] * 3),
                *score_values(source, protocol, values, printed, (place.of_class, place.modality)),
            )
        )
    return ReportTable(
        name=f"{name}{source.suffix(protocol)}",
        title=title,
        caption=caption(
            source, protocol, what, measures=of_whole_classes(source), published=bool(printed)
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
            measures=of_whole_classes(source),
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
