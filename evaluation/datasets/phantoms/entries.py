"""The datasets that have virtual patients: folders, grids, and who is in a cohort."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.datasets.phantoms import patients
from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.layouts import Pose
from evaluation.datasets.phantoms.patients import Patient
from evaluation.datasets.phantoms.shapes import Triple
from evaluation.errors import BenchError, did_you_mean

Cases = Callable[[int], tuple[str, list[str]]]


@dataclass(frozen=True)
class RosterRow:
    """One case of a cohort."""

    case: str
    patient: str
    split: Literal["train", "test"]


@dataclass(frozen=True)
class Entry:
    """A dataset's folder below the raw root, its grid, and its cases by patient index.

    `shift_mm` is how far the field of view may lie off its nominal centre, +- along x, y, z.
    `whole` is the path, below the folder, that a patient has when nothing of it is missing.
    """

    folder: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[tuple[float, float], tuple[float, float]]
    isotropic: bool
    centre_mm: Triple
    shift_mm: Triple
    cases: Cases
    write: Callable[[Path, Patient], list[Path]]
    orientations: tuple[str, ...] = ("RAS",)
    oblique_degrees: float = 0.0
    whole: str = "{patient}"

    def is_whole(self, root: Path, index: int) -> bool:
        """Whether the part of a patient that is moved last is there."""
        return (root / self.folder / self.whole.format(patient=self.cases(index)[0])).exists()


def _alone(pattern: str, first: int = 0) -> Cases:
    return lambda index: (pattern.format(index + first), [pattern.format(index + first)])


def _acdc_cases(index: int) -> tuple[str, list[str]]:
    patient = f"patient{index + 1:03d}"
    frames = (1, patients.contracted_frame(index))
    return patient, [f"{patient}_frame{n:02d}" for n in frames]


def _chaos_mr_cases(index: int) -> tuple[str, list[str]]:
    patient = str(index + 1)
    return patient, [f"{patient}_{sequence}" for sequence in ("t1in", "t1out", "t2spir")]


def _autopet_cases(index: int) -> tuple[str, list[str]]:
    patient = patients.autopet_patient(index)
    return patient, [f"{patient}_{patients.AUTOPET_STUDY}"]


ENTRIES: dict[str, Entry] = {
    "totalsegmentator": Entry(
        folder="TotalSegmentator",
        shape=(46, 36, 44),
        spacing_mm=((6.0, 0.2), (6.0, 0.2)),
        isotropic=True,
        centre_mm=(0, 0, 30),
        shift_mm=(16, 12, 32),
        cases=_alone("s{:04d}"),
        write=patients.write_totalsegmentator,
        orientations=("RAS", "LAS", "LPS"),
    ),
    "chaos_ct": Entry(
        folder="CHAOS/Train_Sets/CT",
        shape=(48, 38, 34),
        spacing_mm=((5.8, 0.2), (5.5, 0.5)),
        isotropic=False,
        centre_mm=(0, 0, 45),
        shift_mm=(26, 18, 80),
        cases=_alone("{}", first=1),
        write=patients.write_chaos_ct,
    ),
    "msd_spleen": Entry(
        folder="MSD_Spleen/Task09_Spleen",
        shape=(48, 38, 34),
        spacing_mm=((5.8, 0.2), (5.5, 0.5)),
        isotropic=False,
        centre_mm=(0, 0, 45),
        shift_mm=(18, 14, 60),
        cases=_alone("spleen_{}", first=1),
        write=patients.write_msd_spleen,
        orientations=("LAS", "RAS", "LPS"),
        whole="imagesTr/{patient}.nii.gz",
    ),
    "acdc": Entry(
        folder="ACDC/database/training",
        shape=(44, 40, 14),
        spacing_mm=((3.5, 0.3), (6.0, 0.0)),
        isotropic=False,
        centre_mm=(0, 0, 0),
        shift_mm=(26, 26, 10),
        cases=_acdc_cases,
        write=patients.write_acdc,
        orientations=("LPS", "RAS", "LAS"),
        oblique_degrees=12.0,
    ),
    "promise12": Entry(
        folder="PROMISE12/TrainingData_Part1",
        shape=(44, 40, 24),
        spacing_mm=((3.6, 0.3), (4.5, 0.0)),
        isotropic=False,
        centre_mm=(0, 0, 0),
        shift_mm=(22, 22, 18),
        cases=_alone("Case{:02d}"),
        write=patients.write_promise12,
        orientations=("LPS", "LPI", "RAS"),
        oblique_degrees=8.0,
        whole="{patient}.mhd",
    ),
    "chaos_mr": Entry(
        folder="CHAOS/Train_Sets/MR",
        shape=(46, 36, 30),
        spacing_mm=((5.8, 0.2), (6.0, 0.3)),
        isotropic=False,
        centre_mm=(0, 0, 35),
        shift_mm=(18, 14, 24),
        cases=_chaos_mr_cases,
        write=patients.write_chaos_mr,
    ),
    "autopet": Entry(
        folder="AutoPET/FDG-PET-CT-Lesions",
        shape=(46, 36, 44),
        spacing_mm=((6.0, 0.2), (6.0, 0.2)),
        isotropic=True,
        centre_mm=(0, 0, 30),
        shift_mm=(16, 12, 32),
        cases=_autopet_cases,
        write=patients.write_autopet,
    ),
}

DATASETS: tuple[str, ...] = tuple(ENTRIES)
"""Ids of the entries that have virtual patients."""


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
