"""Which classes of an entry a run is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.classes.entry import ClassEntry
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError, did_you_mean
from evaluation.studies.record import find_study

if TYPE_CHECKING:
    from evaluation.config import RunConfig


def classes_in_scope(card: DatasetCard, config: RunConfig) -> list[ClassEntry]:
    """Classes that a run trains and scores on this entry, in the card's order.

    `config.classes[card.id]` keeps some annotated classes or, where every name has a minus before
    it, all others; a generated class stays if all of its parts stay. Without it, all classes are
    in scope. Where the run's study is about some of an entry's classes only, these are all.

    Raises:
        BenchError: the configuration or the study names a class that the card does not annotate,
            the configuration mixes the two ways or leaves no class.
    """
    about = find_study(config.study).classes.get(card.id, card.class_names)
    if unknown := [name for name in about if name not in card.class_names]:
        raise BenchError(
            f"the study `{config.study}` is about a class that the entry `{card.id}` has not",
            found=unknown[0],
            hint=did_you_mean(unknown[0], card.class_names),
        )
    asked = [c for c in card.classes if c.name in about]
    named = config.classes.get(card.id)
    if named is None:
        return asked
    annotated = [c.name for c in asked if c.kind == "annotated"]
    left_out = [name[1:].strip() for name in named if name.startswith("-")]
    if left_out and len(left_out) < len(named):
        raise BenchError(
            f"configuration `{config.name}`, classes.{card.id}: some names have a minus, some not",
            expected="either the classes to keep, or `-name` for each one to leave out",
        )
    for name in left_out or named:
        if name not in annotated:
            raise BenchError(
                f"configuration `{config.name}`, classes.{card.id}: `{name}` is not an annotated "
                "class of that entry",
                hint=did_you_mean(name, annotated),
            )
    wanted = set(annotated) - set(left_out) if left_out else set(named)
    if not wanted:
        raise BenchError(
            f"configuration `{config.name}`, classes.{card.id}: no class of the entry is left",
            hint="leave the entry out of `entries`, or its line out of `classes`",
        )
    return [c for c in asked if set(c.union_of or (c.name,)) <= wanted]
