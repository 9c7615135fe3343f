"""Tables 1, 7 and 8: the datasets, the specialists and the classes of a run, from their cards."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evaluation.classes.regions import region_of
from evaluation.datasets.collection import published_collection
from evaluation.datasets.scope import classes_in_scope
from evaluation.published.specialists import CONVOLUTIONS_OF_A_STAGE, PinnedPlan, pinned_plans
from reports.source import RunSource
from reports.tables.parts import region_title
from reports.tables.tabular import NOT_AVAILABLE, NOT_RUN, Column, Table, Value


def collection_table(source: RunSource) -> Table:
    """Table 1: the entries of the run: printed numbers, their cards', and what is there."""
    printed: Any = published_collection().set_index("dataset")
    counted: Any = source.collection("entries")
    columns = (
        Column("dataset", "Dataset"),
        Column("modality", "Modality"),
        Column("region", "Region"),
        Column("scans_printed", "Scans", "as printed", right=True),
        Column("classes_printed", "Classes", "as printed", right=True),
        Column("annotations_printed", "Annotations", "as printed", right=True),
        Column("scans", "Scans", "by its card", right=True),
        Column("patients", "Patients", "by its card", right=True),
        Column("classes", "Classes", "by its card", right=True),
        Column("split", "Train / test", "by its card", right=True),
        Column("anomaly", "Anomaly"),
        Column("licence", "Licence"),
        Column("state", "Scans", "in this run"),
        Column("annotations", "Annotations", "in this run", right=True),
    )
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        known = [int(v) for v in printed.loc[name]] if name in printed.index else [None] * 3
        annotations: Value = NOT_AVAILABLE
        if counted is not None and name in counted.index:
            annotations = int(counted.loc[name]["annotations"])
        rows.append(
            (
                card.title,
                card.modality.upper().replace("MRI", "MR"),
                ", ".join(card.regions),
                *known,
                card.expected_cases,
                card.expected_patients,
                f"{len(card.annotated)} + {len(card.classes) - len(card.annotated)}",
                f"{card.split.train} / {card.split.test}",
                "yes" if card.has_anomaly else "no",
                card.licence.name,
                _state(source, name),
                NOT_RUN if name in source.not_run else annotations,
            )
        )
    total = sum(card.expected_cases for card in source.dataset_cards.values())
    slots = sum(len(card.classes) for card in source.dataset_cards.values())
    return Table(
        name="table1_datasets",
        title="Table 1: the datasets",
        caption=(
            f"{len(rows)} entries, {total:,} scans, {slots} class slots as their cards state them "
            "(a sequence or frame counts as a scan; classes annotated + generated)."
        ),
        columns=columns,
        rows=tuple(rows),
        notes=("The printed annotations of all 32 rows add up to 142,250, not to 142,254.",),
    )


def _state(source: RunSource, name: str) -> str:
    if name in source.not_run:
        return NOT_RUN
    path = source.paths.split(name)
    if not path.is_file():
        return NOT_AVAILABLE
    split = pd.read_csv(path, dtype=str)["split"].value_counts()
    return f"{split.get('train', 0)} train, {split.get('test', 0)} test"


def specialists_table(source: RunSource) -> Table:
    """Table 7: one row per specialist with its plan as printed, and our count of its weights."""
    plans = pinned_plans()
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        scope = {entry.name for entry in classes_in_scope(card, source.config)}
        for specialist in card.specialists:
            classes = specialist.classes or tuple(c.name for c in card.annotated)
            wanted = [c for c in classes if c in scope]
            state = f"{len(wanted)} of {len(classes)} classes" if wanted else NOT_RUN
            plan = plans.get(specialist.id)
            rows.append(
                (
                    specialist.id,
                    card.title,
                    len(classes),
                    card.split.train,
                    card.split.test,
                    *(_plan_values(plan) if plan else [NOT_AVAILABLE] * 6),
                    NOT_RUN if name in source.not_run else state,
                )
            )
    shown = [plans[str(row[0])] for row in rows if row[0] in plans]
    printed = sum(plan.printed_size_millions for plan in shown)
    counted = sum(plan.parameters for plan in shown) / 1e6
    return Table(
        name="table7_specialists",
        title="Table 7: the nnU-Net specialists",
        caption=f"{len(rows)} specialists of the run's entries; {printed:,} M weights as printed "
        f"(rounded one by one), {counted:,.1f} M by our count. Plans as printed, axes as nnU-Net "
        "orders them; a preset of the run may train smaller networks. Specialists are trained on "
        "annotated classes; generated classes are unions of their predictions.",
        columns=(
            Column("specialist", "Specialist"),
            Column("dataset", "Dataset"),
            Column("n_classes", "Classes", right=True),
            Column("n_train", "Train", right=True),
            Column("n_test", "Test", right=True),
            Column("patch_size", "Patch", "plan"),
            Column("n_stages", "Stages", "plan", right=True),
            Column("depth", "Depth", "plan"),
            Column("width", "Width", "plan"),
            Column("printed_size_millions", "printed", "weights (M)", right=True),
            Column("parameters_millions", "ours", "weights (M)", digits=1, right=True),
            Column("state", "In this run"),
        ),
        rows=tuple(rows),
    )


def _plan_values(plan: PinnedPlan) -> list[Value]:
    return [
        " ".join(map(str, plan.patch_size)),
        plan.n_stages,
        " ".join([str(CONVOLUTIONS_OF_A_STAGE)] * plan.n_stages),
        " ".join(map(str, plan.width)),
        plan.printed_size_millions,
        plan.parameters / 1e6,
    ]


def vocabulary_table(source: RunSource) -> Table:
    """Table 8: the classes of the run's entries by (modality, name), with where they occur."""
    places: dict[tuple[str, str], list[str]] = {}
    kinds: dict[tuple[str, str], set[str]] = {}
    for card in source.dataset_cards.values():
        for entry in card.classes:
            key = (card.modality, entry.name)
            places.setdefault(key, []).append(card.title)
            kinds.setdefault(key, set()).add(entry.kind)
    rows = [
        (
            key[0].upper().replace("MRI", "MR"),
            key[1],
            region_title(region_of(*key)),
            " and ".join(sorted(kinds[key])),
            len(places[key]),
            ", ".join(places[key]),
        )
        for key in sorted(places)
    ]
    names = {name for _, name in places}
    return Table(
        name="table8_classes",
        title="Table 8: the classes",
        caption=f"{len(rows)} classes of the run's entries by (modality, name), "
        f"{len(names)} distinct names.",
        columns=(
            Column("modality", "Modality"),
            Column("class", "Class"),
            Column("region", "Region"),
            Column("kind", "Kind"),
            Column("n_entries", "Entries", right=True),
            Column("entries", "Found in"),
        ),
        rows=tuple(rows),
    )
