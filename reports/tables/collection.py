"""The datasets, specialists and classes of a run, from their cards."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from evaluation.datasets.card import Split
from evaluation.datasets.collection import published_collection
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import read_split_file
from evaluation.protocol import SIDES
from evaluation.published import published_entries
from evaluation.published.specialists import CONVOLUTIONS_OF_A_STAGE, PinnedPlan, pinned_plans
from reports.layout.report_table import ReportColumn, ReportTable, Value
from reports.source.run import RunSource
from reports.source.words import (
    NOT_AVAILABLE,
    NOT_RUN,
    count,
    left_out_of_regions,
    modality_title,
    region_title,
)

SPECIALISTS = "nnunet"
"""Model id of the joined specialists."""


def collection_table(source: RunSource) -> ReportTable:
    """The entries of the run: their cards' numbers, what is there, and printed ones if any."""
    printed: Any = published_collection(source.study).set_index("dataset")
    known = [e for e in published_entries(source.config) if e in printed.index]
    counted: Any = source.collection("entries")
    columns = (
        ReportColumn("dataset", "Dataset"),
        ReportColumn("modality", "Modality"),
        ReportColumn("region", "Region"),
        *(
            ReportColumn(f"{name}_printed", name.capitalize(), "as printed", right=True)
            for name in (printed.columns if known else ())
        ),
        ReportColumn("scans", "Scans", "by its card", right=True),
        ReportColumn("patients", "Patients", "by its card", right=True),
        ReportColumn("classes", "Classes", "by its card", right=True),
        ReportColumn("split", "Train / test", "by its card", right=True),
        ReportColumn("anomaly", "Anomaly"),
        ReportColumn("licence", "Licence"),
        ReportColumn("state", "Scans", "in this run"),
        ReportColumn("annotations", "Annotations", "in this run", right=True),
    )
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        numbers: list[Value] = []
        if known:
            shown = name in known
            theirs = printed.loc[name] if shown else [math.nan] * 3
            numbers = [None if math.isnan(v) else int(v) for v in theirs]
        split = source.split_of(card)
        annotations: Value = NOT_AVAILABLE
        if counted is not None and name in counted.index:
            annotations = int(counted.loc[name]["annotations"])
        rows.append(
            (
                card.title,
                modality_title(card.modality),
                ", ".join(card.regions),
                *numbers,
                card.expected_cases,
                card.expected_patients,
                f"{len(card.annotated)} + {len(card.classes) - len(card.annotated)}",
                f"{split.train}{_validation(split)} / {split.test}",
                "yes" if card.has_anomaly else "no",
                card.licence.name,
                _state(source, name),
                NOT_RUN if name in source.not_run else annotations,
            )
        )
    total = sum(card.expected_cases for card in source.dataset_cards.values())
    slots = sum(len(card.classes) for card in source.dataset_cards.values())
    return ReportTable(
        name="collection",
        title=source.numbered("collection", "The datasets"),
        caption=(
            f"{count(len(rows), 'entry', 'entries')}, {total:,} scans, "
            f"{count(slots, 'class slot', 'class slots')} as the cards state them "
            "(a sequence or frame counts as a scan; classes annotated + generated; training + "
            "validation / test scans, where an entry has validation scans of its own)."
        ),
        columns=columns,
        rows=tuple(rows),
        notes=source.printed_notes("collection"),
    )


def _validation(split: Split) -> str:
    return f" + {split.validation}" if split.validation else ""


def _state(source: RunSource, name: str) -> str:
    if name in source.not_run:
        return NOT_RUN
    path = source.paths.split(name)
    if not path.is_file():
        return NOT_AVAILABLE
    sides = Counter(row.split for row in read_split_file(path))
    return ", ".join(f"{sides[side]} {side}" for side in SIDES if sides[side])


def specialists_table(source: RunSource) -> ReportTable | None:
    """One row per specialist, with the plan that is printed of it, and our count of its weights.

    None where the run has no specialists.
    """
    if SPECIALISTS not in source.config.models and not source.reproduces_study:
        return None
    entries = published_entries(source.config)
    plans = {
        name: plan for name, plan in pinned_plans(source.study).items() if plan.entry in entries
    }
    rows: list[tuple[Value, ...]] = []
    for name, card in source.dataset_cards.items():
        scope = {entry.name for entry in classes_in_scope(card, source.config)}
        split = source.split_of(card)
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
                    split.train,
                    split.test,
                    *(_plan_values(plan) if plan else [None] * 6 if plans else []),
                    NOT_RUN if name in source.not_run else state,
                )
            )
    shown = [plans[str(row[0])] for row in rows if row[0] in plans]
    size = sum(plan.printed_size_millions for plan in shown)
    counted = sum(plan.parameters for plan in shown) / 1e6
    return ReportTable(
        name="specialists",
        title=source.numbered("specialists", "The nnU-Net specialists"),
        caption=f"{count(len(rows), 'specialist', 'specialists')} of the run's entries"
        + (
            f"; {size:,} M weights as printed (rounded one by one), {counted:,.1f} M by our "
            "count. Plans as printed, axes as nnU-Net orders them; a preset of the run may train "
            "smaller networks. "
            if plans
            else ". "
        )
        + "Specialists are trained on annotated classes; generated classes are unions of their "
        "predictions.",
        columns=(
            ReportColumn("specialist", "Specialist"),
            ReportColumn("dataset", "Dataset"),
            ReportColumn("n_classes", "Classes", right=True),
            ReportColumn("n_train", "Train", right=True),
            ReportColumn("n_test", "Test", right=True),
            *(_PLAN_COLUMNS if plans else ()),
            ReportColumn("state", "In this run"),
        ),
        rows=tuple(rows),
    )


_PLAN_COLUMNS = (
    ReportColumn("patch_size", "Patch", "plan"),
    ReportColumn("n_stages", "Stages", "plan", right=True),
    ReportColumn("depth", "Depth", "plan"),
    ReportColumn("width", "Width", "plan"),
    ReportColumn("printed_size_millions", "printed", "weights (M)", right=True),
    ReportColumn("parameters_millions", "ours", "weights (M)", digits=1, right=True),
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


def vocabulary_table(source: RunSource) -> ReportTable:
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
            modality_title(key[0]),
            key[1],
            region_title(source.region_of(*key)),
            " and ".join(sorted(kinds[key])),
            len(places[key]),
            ", ".join(places[key]),
        )
        for key in sorted(places)
    ]
    names = {name for _, name in places}
    return ReportTable(
        name="vocabulary",
        title=source.numbered("classes", "The classes"),
        caption=f"{count(len(rows), 'class', 'classes')} of the run's entries by (modality, name), "
        f"{count(len(names), 'distinct name', 'distinct names')}.",
        notes=tuple(filter(None, [left_out_of_regions(source)])),
        columns=(
            ReportColumn("modality", "Modality"),
            ReportColumn("class", "Class"),
            ReportColumn("region", "Region"),
            ReportColumn("kind", "Kind"),
            ReportColumn("n_entries", "Entries", right=True),
            ReportColumn("entries", "Found in"),
        ),
        rows=tuple(rows),
    )
