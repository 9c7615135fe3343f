"""Scores as dense arrays: for each entry cases x slots x models. A slot is a class of an entry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.metric import Metric


@dataclass(frozen=True)
class Slots:
    """Classes of an entry, one element each.

    `preferred` marks the kind that enters the means; a slot that is not preferred keeps the
    other kind of a generated class (union beside direct) for the class table.
    """

    name: NDArray[np.str_]
    preferred: NDArray[np.bool_]
    leaf: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class EntryGrid:
    """Scores of all models on one entry.

    Arrays are cases x slots x models: `status` codes, the `values` of each metric, sizes in
    voxels; `reference_voxels` is cases x slots, `voxel_ml` and `field_mm` (diagonal) cases.
    `person` indexes `Grid.people`. `in_clean` marks cases that the view `clean` keeps; `kinds` is
    slots x models.
    """

    dataset: str
    modality: str
    cases: tuple[str, ...]
    person: NDArray[np.int64]
    in_clean: NDArray[np.bool_]
    slots: Slots
    kinds: NDArray[np.str_]
    status: NDArray[np.int8]
    values: Mapping[str, NDArray[np.float64]]
    reference_voxels: NDArray[np.int64]
    prediction_voxels: NDArray[np.int64]
    voxel_ml: NDArray[np.float64]
    field_mm: NDArray[np.float64]


@dataclass(frozen=True)
class ScoreGrid:
    """All entries of a run in one space, from the score rows of one tolerance.

    `metrics` are those whose numbers are made from these rows. One without a tolerance has the
    same value at every one: it is taken from the first, or from a grid of its own
    (`tolerance_mm` NaN) where the first has not all of the rows. `policies` are those that tell
    anything apart in the run.
    """

    data_kind: str
    space: str
    tolerance_mm: float
    models: tuple[str, ...]
    people: tuple[str, ...]
    entries: tuple[EntryGrid, ...]
    metrics: tuple[Metric, ...]
    policies: tuple[str, ...] = ("present-only", "paper")

    def tolerance_of(self, metric: Metric) -> float:
        """A metric's tolerance in the tables: NaN for one that has none."""
        return self.tolerance_mm if metric.has_tolerance else math.nan
