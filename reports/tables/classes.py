"""A row for each class (the paper's Tables 3 and 4) or entry (5), published columns beside ours."""

from __future__ import annotations

from evaluation.classes.regions import LESION
from reports.source import Protocol, RunSource
from reports.tables.parts import (
    REGION_ORDER,
    Lookup,
    Row,
    caption,
    counts,
    of_expected,
    published_lookup,
    region_title,
    score_columns,
    score_values,
)
from reports.tables.tabular import NOT_RUN, Column, Table

TABLE_OF_REGION = {"abdomen": 3, "brain": 3, "pelvis": 3, LESION: 6}


def classes_table(source: RunSource, protocol: Protocol, number: int | None = None) -> Table | None:
    """Class-wise means over entries, a block for each region, classes without one at the end.

    Args:
        source: the run.
        protocol: of the numbers.
        number: only the classes of the paper's Table 3 or 4, which have no lesion; None = all.
    """
    frame = source.pick("class", protocol)
    if frame is None:
        return None
    frame = frame[frame["modality"] != "any"]
    wanted = [r for r in REGION_ORDER if number in (None, TABLE_OF_REGION.get(r, 4))]
    frame = frame[frame["region"].isin(wanted)]
    printed = published_lookup(source, "class")
    head = [
        Column("modality", "Modality"),
        Column("class", "Target"),
        Column("n_cases", "Scans", right=True),
        Column("n_patients", "Patients", right=True),
        Column("entries", "Entries", right=True),
    ]
    columns = [*head, *score_columns(source, protocol, printed)]
    rows: list[Row] = []
    blocks: dict[int, str] = {}
    for name in wanted:
        part = frame[frame["region"] == name]
        if part.empty:
            continue
        blocks[len(rows)] = region_title(name)
        for (modality, class_name), group in part.groupby(["modality", "class"], sort=True):
            key = (str(class_name), str(modality))
            first = (
                str(modality).upper().replace("MRI", "MR"),
                str(class_name),
                counts(group["n_cases"]),
                counts(group["n_patients"]),
                of_expected(group, "entries"),
            )
            rows.append((*first, *score_values(source, group, printed, key)))
    title = "Class-wise results"
    if number is not None:
        words = ", ".join(r for r in wanted if r in source.regions)
        title = f"Table {number}: class-wise results ({words})"
    return Table(
        name=f"{f'table{number}_' if number else ''}classes{source.suffix(protocol)}",
        title=title,
        caption=caption(
            source,
            protocol,
            "Mean over scans of an entry, then over the entries that have the class.",
            published=bool(printed),
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        blocks=blocks,
        notes=(
            (
                "Entries: those in the mean of those that the run asks for. Generated classes are "
                "taken as predicted directly where a model does so, otherwise as unions of parts."
            ),
        ),
    )


def datasets_table(source: RunSource, protocol: Protocol) -> Table | None:
    """Dataset-wise means (Table 5 of the paper); entries without data are rows that say so."""
    frame = source.pick("dataset", protocol)
    if frame is None:
        return None
    printed = published_lookup(source, "dataset")
    head = [
        Column("dataset", "Dataset"),
        Column("modality", "Modality"),
        Column("n_cases", "Scans", right=True),
        Column("n_patients", "Patients", right=True),
        Column("classes", "Classes", right=True),
    ]
    columns = [*head, *score_columns(source, protocol, printed)]
    rows: list[Row] = []
    extra = sorted(set(frame["dataset"]) - set(source.dataset_cards))
    cards = sorted(source.dataset_cards, key=lambda d: source.dataset_title(d).lower())
    for dataset in [*cards, *extra]:
        group = frame[frame["dataset"] == dataset]
        card = source.dataset_cards.get(dataset)
        modality = card.modality if card else str(group["modality"].iloc[0])
        sizes = [of_expected(group, "cases"), counts(group["n_patients"])]
        sizes = [*sizes, of_expected(group, "classes")] if len(group) else [NOT_RUN] * 3
        first = (source.dataset_title(dataset), modality.upper().replace("MRI", "MR"), *sizes)
        key = (dataset, _modality_of(printed, dataset, modality))
        rows.append((*first, *score_values(source, group, printed, key)))
    return Table(
        name=f"table5_datasets{source.suffix(protocol)}",
        title=source.numbered(5, "Dataset-wise results"),
        caption=caption(
            source,
            protocol,
            "Mean over scans, then over the classes of an entry.",
            published=bool(printed),
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(
            f"Not run: {source.dataset_title(d)} ({reason})."
            for d, reason in source.not_run.items()
        ),
    )


def _modality_of(printed: Lookup, key: str, fallback: str) -> str:
    return next((k[1] for k in printed if k[0] == key), fallback)
