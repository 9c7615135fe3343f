"""Which classes of an entry a run is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.classes.entry import ClassEntry
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from evaluation.config import RunConfig


def classes_in_scope(card: DatasetCard, config: RunConfig) -> list[ClassEntry]:
    """Classes that a run trains and scores on this entry, in the card's order.

    `config.classes[card.id]` keeps some annotated classes or, where every name has a minus before
    it, all others; a generated class stays if all of its parts stay. Without it, all classes are
    in scope.

    Raises:
        BenchError: the configuration names a class that the card does not annotate, mixes the two
            ways, or leaves no class.
    """
    named = config.classes.get(card.id)
    if named is None:
        return list(card.classes)
    annotated = [c.name for c in card.annotated]
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
    return [c for c in card.classes if set(c.union_of or (c.name,)) <= wanted]
