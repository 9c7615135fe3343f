"""Which classes of an entry a run is about."""

from __future__ import annotations

from evaluation.config import RunConfig
from evaluation.datasets.card import ClassEntry, DatasetCard
from evaluation.errors import BenchError, did_you_mean


def classes_in_scope(card: DatasetCard, config: RunConfig) -> list[ClassEntry]:
    """Classes that a run trains and scores on this entry, in the card's order.

    `config.classes[card.id]` keeps some annotated classes; a generated class stays if all of
    its parts stay. Without it, all classes are in scope.

    Raises:
        BenchError: the configuration names a class that the card does not annotate.
    """
    wanted = config.classes.get(card.id)
    if wanted is None:
        return list(card.classes)
    annotated = [c.name for c in card.annotated]
    for name in wanted:
        if name not in annotated:
            raise BenchError(
                f"configuration `{config.name}`, classes.{card.id}: `{name}` is not an annotated "
                "class of that entry",
                hint=did_you_mean(name, annotated),
            )
    return [c for c in card.classes if set(c.union_of or (c.name,)) <= set(wanted)]
