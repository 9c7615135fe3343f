"""The specialists that a run is about."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.classes.leaves import Leaf, leaves_of
from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard, Specialist
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import has_training_side
from evaluation.errors import BenchError, did_you_mean
from evaluation.published.specialists import PinnedPlan, pinned_plans
from evaluation.studies.record import find_study


@dataclass(frozen=True)
class SpecialistPlan:
    """A specialist of a run: which classes it learns, as which disjoint leaf labels."""

    id: str
    dataset: str
    classes: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    pinned: PinnedPlan | None


def specialists_of(card: DatasetCard, config: RunConfig) -> list[SpecialistPlan]:
    """Specialists of an entry that have a class in the run's scope, in the card's order.

    A card without `specialists` (a user's own dataset) gets one for all of its classes; an entry
    that is only tested on has none.
    """
    if not has_training_side(card, config):
        return []
    in_scope = {c.name for c in classes_in_scope(card, config) if c.kind == "annotated"}
    plans, pinned = [], pinned_plans(find_study(config.study))
    for specialist in card.specialists or (Specialist(id=card.id),):
        names = specialist.classes or tuple(c.name for c in card.annotated)
        classes = tuple(c.name for c in card.annotated if c.name in in_scope and c.name in names)
        if classes:
            plans.append(
                SpecialistPlan(
                    id=specialist.id,
                    dataset=card.id,
                    classes=classes,
                    leaves=leaves_of([card.class_entry(name) for name in classes], card.id),
                    pinned=pinned.get(specialist.id),
                )
            )
    return plans


def find_specialist(specialist: str, config: RunConfig) -> tuple[DatasetCard, SpecialistPlan]:
    """A specialist of a run, with the card of its entry.

    Raises:
        BenchError: the run has no such specialist.
    """
    entries = entry_ids(config)
    known: list[str] = []
    for entry in entries:
        card = find_card(entry)
        for plan in specialists_of(card, config):
            if plan.id == specialist:
                return card, plan
            known.append(plan.id)
    raise BenchError(
        f"run `{config.name}` has no specialist `{specialist}`",
        expected="a specialist of one of the run's entries with a class in its scope",
        hint=did_you_mean(specialist, known),
    )
