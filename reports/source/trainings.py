"""Models of a run that are trained several times with nothing changed but the seed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.variants import trainings
from reports.source.run import RunSource


@dataclass(frozen=True)
class Seeds:
    """A variant with several seeds, and the model ids of its trainings that the run has."""

    title: str
    seeds: tuple[int, ...]
    models: tuple[str, ...]


def seeds_of(source: RunSource) -> list[Seeds]:
    """The variants of a run of which there are at least two trainings."""
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for model, training in trainings(source.config.variants).items():
        if training.seed is not None and model in source.models:
            groups[training.variant].append((training.seed, model))
    found = []
    for variant, members in groups.items():
        seeds, models = zip(*members, strict=True)
        title = source.config.variants[variant].title or variant
        found.append(Seeds(title, seeds, models))
    return [group for group in found if len(group.models) > 1]


def mean_and_deviation(values: Sequence[float]) -> str:
    """Printed values as `83.21 ± 0.45`, the standard deviation over trainings (n − 1)."""
    return f"{statistics.fmean(values):.2f} {deviation(values)}"


def deviation(values: Sequence[float]) -> str:
    """The second half of it."""
    return f"± {statistics.stdev(values):.2f}"
