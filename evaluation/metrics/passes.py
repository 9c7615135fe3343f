"""Sort classes into passes: within one pass no voxel belongs to two classes, on either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.metrics.records import ClassPair
from evaluation.volumes.segmentation import ClassPlace

MOST_CLASSES = 255
# The layers and, for each of them, the values that make up one side of a class.
Place = dict[int, frozenset[int]]
Numbers = dict[int, dict[int, int]]


@dataclass
class Pass:
    """Classes that one sweep measures together.

    `members` are positions in the list of pairs; the class of position `members[i]` has the
    number i + 1. All classes of a pass live in the same layers. `numbers` holds for either side
    (reference, prediction) layer -> value -> class number; no layer at all = this side is empty.
    More than one layer occurs only with a single class.
    """

    numbers: tuple[Numbers, Numbers]
    members: list[int] = field(default_factory=list)

    def takes(self, sides: tuple[Place, Place]) -> bool:
        """Whether a class is free to join."""
        return len(self.members) < MOST_CLASSES and all(
            numbers.keys() == place.keys()
            and all(numbers[layer].keys().isdisjoint(place[layer]) for layer in place)
            for numbers, place in zip(self.numbers, sides, strict=True)
        )

    def add(self, position: int, sides: tuple[Place, Place]) -> None:
        """Let a class join."""
        self.members.append(position)
        for numbers, place in zip(self.numbers, sides, strict=True):
            for layer, values in place.items():
                numbers.setdefault(layer, {}).update(dict.fromkeys(values, len(self.members)))


def plan_passes(pairs: Sequence[ClassPair]) -> list[Pass]:
    """Put every class into the first pass where its values are free on both sides.

    Classes with one value each (most label maps) need one pass; a hierarchy of unions needs about
    as many as it has levels. A class that is spread over several layers gets a pass of its own,
    because values of different layers say nothing of whether voxels overlap.

    A class keeps its own number free of charge where it can: classes are numbered in the order of
    their reference values, so that label maps whose values are 1..n are swept without a look-up.
    """
    passes: list[Pass] = []
    places = [(_place(pair.reference), _place(pair.prediction)) for pair in pairs]
    for position in sorted(range(len(pairs)), key=lambda p: _first_value(places[p])):
        sides = places[position]
        single = max(map(len, sides)) <= 1
        fitting = (known for known in passes if single and known.takes(sides))
        chosen = next(fitting, None)
        if chosen is None:
            chosen = Pass(({}, {}))
            passes.append(chosen)
        chosen.add(position, sides)
    return passes


def _place(place: ClassPlace | None) -> Place:
    found: dict[int, set[int]] = {}
    for part in place.parts if place else ():
        found.setdefault(part.layer, set()).update(part.values)
    return {layer: frozenset(values) for layer, values in sorted(found.items()) if values}


def _first_value(sides: tuple[Place, Place]) -> tuple[int, int]:
    values = [v for side in sides for layer in side.values() for v in layer]
    return len(values), min(values, default=0)
