"""Aspects as numbers of the tables: which slots each is made of, and how they are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
import pandas as pd

from evaluation.studies.aspect import Aspect
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.samples import sample
from evaluation.tables.scores import Expected
from evaluation.tables.targets import Targets, Universe, universe_of

Poor = Mapping[str, Set[tuple[str, str]]]
"""Aspect -> (entry, class) that its model does poorly."""


def poor_classes(grids: Sequence[ScoreGrid], expected: Expected) -> dict[str, Poor]:
    """By space: which classes are `below` for the aspects that ask for it.

    An aspect whose model or metric a space has not is left out there. The choice is made once, from
    all test scans under present-only, and holds for every number of the space.
    """
    found: dict[str, dict[str, set[tuple[str, str]]]] = {}
    for grid in grids:
        chosen = found.setdefault(grid.space, {})
        for name, aspect in expected.aspects.items():
            below = aspect.below
            metric = next((m for m in grid.metrics if below and m.id == below.metric), None)
            if below is None or metric is None or name in chosen or below.model not in grid.models:
                continue
            universe = universe_of(grid, expected)
            values = sample(grid, metric, "present-only", "paper", "supported")
            means = values.slot_means(universe)[:, values.models.index(below.model)]
            chosen[name] = {
                (str(universe.dataset[i]), str(universe.name[i]))
                for i in np.flatnonzero((means < below.value) & universe.preferred)
            }
    return dict(found)


def aspect_targets(universe: Universe, aspects: Mapping[str, Aspect], poor: Poor) -> list[Targets]:
    """Numbers of all aspects with a class in the run, those over entries apart."""
    regions = universe.regions("anatomical")
    slots = list(
        zip(
            universe.dataset.tolist(),
            universe.name.tolist(),
            universe.modality.tolist(),
            regions.tolist(),
            strict=True,
        )
    )
    by_entry = np.unique(universe.dataset, return_inverse=True)[1].astype(np.int64)
    targets = []
    for over, levels in (("classes", ()), ("entries", (by_entry,))):
        names, members = [], []
        for name, aspect in aspects.items():
            if aspect.mean_over != over or (aspect.below is not None and name not in poor):
                continue
            member = np.array([aspect.holds(*slot, poor.get(name)) for slot in slots], dtype=bool)
            member &= universe.preferred
            if member.any():
                names.append(name)
                members.append(member)
        shape = len(names), len(universe)
        keys = pd.DataFrame({"aspect": np.array(names, dtype=object)})
        targets.append(
            Targets("aspect", keys, np.array(members, dtype=bool).reshape(shape), levels)
        )
    return [part for part in targets if len(part)]
