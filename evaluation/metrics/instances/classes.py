"""Instances of all classes of a case: one labelling pass for classes that do not overlap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from evaluation.metrics.grid import Grid, Sources, unsigned_layers
from evaluation.metrics.instances.matching import match_instances
from evaluation.metrics.instances.pairs import pair_instances_by_class
from evaluation.metrics.instances.rules import Matching
from evaluation.metrics.instances.scores import instance_rows, instance_scores
from evaluation.metrics.metric import Further
from evaluation.metrics.passes import plan_passes
from evaluation.metrics.records import ClassPair, Scoring
from evaluation.volumes.image_files import Array


def with_instances(
    further: Sequence[Further],
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    scoring: Scoring,
    names: Collection[str] | None,
    matching: Matching,
) -> list[Further]:
    """What is measured of all pairs, with the instances of the classes that are counted so.

    Args:
        further: what else is measured of each pair.
        reference: integer layers (x, y, z).
        prediction: integer layers of the same shape, or none.
        pairs: what to compare with what.
        scoring: spacing, and the definition of HD95.
        names: of the classes whose instances are counted; None = all.
        matching: how they are told apart and matched.
    """
    counted = [i for i, pair in enumerate(pairs) if names is None or pair.name in names]
    # As the data lie, so that instances are numbered in the data's own order.
    plain = slice(None)
    grid = Grid((0, 1, 2), (plain, plain, plain), False, scoring.spacing_mm)
    sides = unsigned_layers(reference, grid), unsigned_layers(prediction, grid)
    found = list(further)
    for part in plan_passes([pairs[i] for i in counted]):
        sources = Sources.of(part, sides)
        maps = [
            lookup[source] for source, lookup in zip(sources.maps, sources.lookups, strict=True)
        ]
        numbers = range(1, len(part.members) + 1)
        by_class = pair_instances_by_class(
            maps[0], maps[1], scoring.spacing_mm, numbers, matching.connectivity
        )
        for number, member in zip(numbers, part.members, strict=True):
            pair = by_class[number]
            matches = match_instances(
                pair, matching.rule, matching.measure, matching.threshold, matching.within_mm
            )
            found[counted[member]] = replace(
                found[counted[member]],
                instances=instance_scores(pair, matches),
                instance_rows=tuple(instance_rows(pair, matches, scoring.definition)),
            )
    return found
