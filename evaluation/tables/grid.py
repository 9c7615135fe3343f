"""Scores as dense arrays: for each entry cases x slots x models. A slot is a class of an entry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    Arrays are cases x slots x models: `status` codes, `dsc` and `nsd` in 0..1, sizes in voxels;
    `reference_voxels` is cases x slots, `voxel_ml` cases. `person` indexes `Grid.people`.
    `in_clean` marks cases that the view `clean` keeps; `kinds` is slots x models.
    """

    dataset: str
    modality: str
    cases: tuple[str, ...]
    person: NDArray[np.int64]
    in_clean: NDArray[np.bool_]
    slots: Slots
    kinds: NDArray[np.str_]
    status: NDArray[np.int8]
    dsc: NDArray[np.float64]
    nsd: NDArray[np.float64]
    reference_voxels: NDArray[np.int64]
    prediction_voxels: NDArray[np.int64]
    voxel_ml: NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """All entries of a run in one space at one tolerance."""

    data_kind: str
    space: str
    tolerance_mm: float
    models: tuple[str, ...]
    people: tuple[str, ...]
    entries: tuple[EntryGrid, ...]
