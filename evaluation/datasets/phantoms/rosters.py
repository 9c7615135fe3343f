"""Who is in a cohort: its cases in order, and each patient's field of view and random numbers."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.entries import ENTRIES, Entry
from evaluation.datasets.phantoms.layouts import Pose
from evaluation.datasets.phantoms.patients import Patient
from evaluation.datasets.phantoms.shapes import Triple
from evaluation.errors import BenchError, did_you_mean

DATASETS: tuple[str, ...] = tuple(ENTRIES)
"""Ids of the entries that have virtual patients."""


@dataclass(frozen=True)
class RosterRow:
    """One case of a cohort."""

    case: str
    patient: str
    split: Literal["train", "test"]


def find_entry(dataset: str) -> Entry:
    """The entry of that id.

    Raises:
        BenchError: it has no virtual patients.
    """
    if dataset not in ENTRIES:
        raise BenchError(
            f"there are no virtual patients of `{dataset}`", hint=did_you_mean(dataset, DATASETS)
        )
    return ENTRIES[dataset]


def roster(dataset: str, n_patients: int, n_test: int) -> list[RosterRow]:
    """Cases of a cohort in the order of patients, without drawing anything.

    Args:
        dataset: one of `DATASETS`.
        n_patients: number of virtual patients.
        n_test: how many of them, the last ones, are the test split.

    Raises:
        BenchError: no such cohort, or a split that leaves nothing to train on.
    """
    entry = find_entry(dataset)
    if not 0 <= n_test < n_patients:
        raise BenchError(
            f"cohort `{dataset}` cannot be split",
            found=f"{n_test} test patients of {n_patients}",
            expected="at least one patient left for training",
        )
    if entry.most is not None and n_patients > entry.most:
        raise BenchError(
            f"cohort `{dataset}` has more patients than its layout has names for",
            found=str(n_patients),
            expected=f"at most {entry.most}",
        )
    rows = []
    for index in range(n_patients):
        patient, cases = entry.cases(index)
        split: Literal["train", "test"] = "train" if index < n_patients - n_test else "test"
        rows += [RosterRow(case, patient, split) for case in cases]
    return rows


def patient_of(dataset: str, index: int, seed: int) -> Patient:
    """The patient of that index: field of view, pose, and random numbers of its own."""
    entry = find_entry(dataset)
    rng = np.random.default_rng([seed, zlib.crc32(dataset.encode()), index])
    grid = _field_of_view(entry, rng)
    orientation = str(rng.choice(entry.orientations))
    pose = Pose(orientation, _triple(rng.uniform(-1, 1, 3) * entry.oblique_degrees))
    return Patient(entry.cases(index)[0], index, seed, rng, grid, pose)


def _field_of_view(entry: Entry, rng: np.random.Generator) -> FieldOfView:
    """Spacing rounded to 0.01 mm and a centre shifted by up to the entry's limits."""
    (plane, plane_range), (step, step_range) = entry.spacing_mm
    in_plane = round(plane + rng.uniform(-1, 1) * plane_range, 2)
    along = in_plane if entry.isotropic else round(step + rng.uniform(-1, 1) * step_range, 2)
    shift = rng.uniform(-1, 1, 3) * entry.shift_mm
    centre = _triple(np.round(np.array(entry.centre_mm) + shift, 2))
    return FieldOfView(entry.shape, (in_plane, in_plane, along), centre)


def _triple(values: Any) -> Triple:
    x, y, z = (float(v) for v in values)
    return x, y, z
