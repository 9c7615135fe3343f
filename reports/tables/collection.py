"""The datasets, specialists and classes of a run, from their cards (the paper's Tables 1, 7, 8)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from evaluation.datasets.collection import published_collection
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import split_rule
from evaluation.published import published_entries
from evaluation.published.specialists import CONVOLUTIONS_OF_A_STAGE, PinnedPlan, pinned_plans
from reports.source import RunSource
from reports.tables.parts import count, region_title
from reports.tables.tabular import NOT_AVAILABLE, NOT_RUN, Column, Table, Value

SPECIALISTS = "nnunet"
"""Model id of the joined specialists."""


def collection_table(source: RunSource) -> Table:
    """The entries of the run: their cards' numbers, what is there, and printed ones if any."""
    printed: Any = published_collection(source.study).set_index("dataset")
    known = [name for name in published_entries(source.config) if name in printed.index]
    counted: Any = source.collection("entries")
    columns = (
        Column("dataset", "Dataset"),
        Column("modality", "Modality"),
        Column("region", "Region"),
        *(
            Column(f"{name}_printed", name.capitalize(), "as printed", right=True)
            for name in (printed.columns if known else ())
        ),
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
        numbers: list[Value] = []
        if known:
            shown = name in known
            numbers = [int(v) for v in printed.loc[name]] if shown else [None] * 3
        rule = split_rule(card, source.study)
        annotations: Value = NOT_AVAILABLE
        if counted is not None and name in counted.index:
            annotations = int(counted.loc[name]["annotations"])
        rows.append(
            (
                card.title,
                card.modality.upper().replace("MRI", "MR"),
                ", ".join(card.regions),
                *numbers,
                card.expected_cases,
                card.expected_patients,
                f"{len(card.annotated)} + {len(card.classes) - len(card.annotated)}",
                f"{rule.train} / {rule.test}",
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
        title=source.numbered(1, "The datasets"),
        caption=(
            f"{count(len(rows), 'entry', 'entries')}, {total:,} scans, "
            f"{count(slots, 'class slot', 'class slots')} as the cards state them "
            "(a sequence or frame counts as a scan; classes annotated + generated)."
        ),
        columns=columns,
        rows=tuple(rows),
        notes=("The printed annotations of all 32 rows add up to 142,250, not to 142,254.",)
        if source.reproduces_paper
        else (),
    )


def _state(source: RunSource, name: str) -> str:
    if name in source.not_run:
        return NOT_RUN
    path = source.paths.split(name)
    if not path.is_file():
        return NOT_AVAILABLE
    split = pd.read_csv(path, dtype=str)["split"].value_counts()
    return f"{split.get('train', 0)} train, {split.get('test', 0)} test"


def specialists_table(source: RunSource) -> Table | None:
    """One row per specialist, with the plan that is printed of it, and our count of its weights.

    None where the run has no specialists.
    """
    if SPECIALISTS not in source.config.models and not source.reproduces_paper:
        return None
    entries, study = published_entries(source.config), source.study
    plans = {name: plan for name, plan in pinned_plans(study).items() if plan.entry in entries}
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        scope = {entry.name for entry in classes_in_scope(card, source.config)}
        for specialist in card.specialists:
            classes = specialist.classes or tuple(c.name for c in card.annotated)
            wanted = [c for c in classes if c in scope]
            state = f"{len(wanted)} of {len(classes)} classes" if wanted else NOT_RUN
            plan, rule = plans.get(specialist.id), split_rule(card, study)
            rows.append(
                (
                    specialist.id,
                    card.title,
                    len(classes),
                    rule.train,
                    rule.test,
                    *(_plan_values(plan) if plan else [None] * 6 if plans else []),
                    NOT_RUN if name in source.not_run else state,
                )
            )
    shown = [plans[str(row[0])] for row in rows if row[0] in plans]
    printed = sum(plan.printed_size_millions for plan in shown)
    counted = sum(plan.parameters for plan in shown) / 1e6
    return Table(
        name="table7_specialists",
        title=source.numbered(7, "The nnU-Net specialists"),
        caption=f"{count(len(rows), 'specialist', 'specialists')} of the run's entries"
        + (
            f"; {printed:,} M weights as printed (rounded one by one), {counted:,.1f} M by our "
            "count. Plans as printed, axes as nnU-Net orders them; a preset of the run may train "
            "smaller networks. "
            if plans
            else ". "
        )
        + "Specialists are trained on annotated classes; generated classes are unions of their "
        "predictions.",
        columns=(
            Column("specialist", "Specialist"),
            Column("dataset", "Dataset"),
            Column("n_classes", "Classes", right=True),
            Column("n_train", "Train", right=True),
            Column("n_test", "Test", right=True),
            *(_PLAN_COLUMNS if plans else ()),
            Column("state", "In this run"),
        ),
        rows=tuple(rows),
    )


_PLAN_COLUMNS = (
    Column("patch_size", "Patch", "plan"),
    Column("n_stages", "Stages", "plan", right=True),
    Column("depth", "Depth", "plan"),
    Column("width", "Width", "plan"),
    Column("printed_size_millions", "printed", "weights (M)", right=True),
    Column("parameters_millions", "ours", "weights (M)", digits=1, right=True),
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
    """The classes of the run's entries by (modality, name), with where they occur."""
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
            region_title(source.region_of(*key)),
            " and ".join(sorted(kinds[key])),
            len(places[key]),
            ", ".join(places[key]),
        )
        for key in sorted(places)
    ]
    names = {name for _, name in places}
    return Table(
        name="table8_classes",
        title=source.numbered(8, "The classes"),
        caption=f"{count(len(rows), 'class', 'classes')} of the run's entries by (modality, name), "
        f"{count(len(names), 'distinct name', 'distinct names')}.",
        notes=tuple(filter(None, [source.left_out_of_regions])),
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
