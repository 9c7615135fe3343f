"""The datasets that have virtual patients: folders, grids, and the names of their cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.datasets.phantoms import patients
from evaluation.datasets.phantoms.patients import Patient
from evaluation.datasets.phantoms.shapes import Triple

Cases = Callable[[int], tuple[str, list[str]]]


@dataclass(frozen=True)
class Entry:
    """A dataset's folder below the raw root, its grid, and its cases by patient index.

    `shift_mm` is how far the field of view may lie off its nominal centre, +- along x, y, z.
    `whole` is the path, below the folder, that a patient has when nothing of it is missing.
    `most` is how many patients the layout has names for, if not any number.
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
    most: int | None = None

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


def _bcv_cases(index: int) -> tuple[str, list[str]]:
    # The public numbers are 1 to 10 and 21 to 40.
    case = f"img{index + (1 if index < 10 else 11):04d}"
    return case, [case]


def _lits_cases(index: int) -> tuple[str, list[str]]:
    # The card mends headers of volumes 28 to 47, which are right here.
    case = f"volume-{index if index < 28 else index + 20}"
    return case, [case]


def _mnms_cases(index: int) -> tuple[str, list[str]]:
    letter, number = chr(ord("A") + index // 100), index % 100
    patient = f"{letter}{number // 10}S{number % 10}V9"
    return patient, [f"{patient}_{phase}" for phase in ("ed", "es")]


def _autopet_cases(index: int) -> tuple[str, list[str]]:
    patient = patients.autopet_patient(index)
    return patient, [f"{patient}_{patients.AUTOPET_STUDY}"]


_ct = partial(Entry, shape=(48, 38, 34), spacing_mm=((5.8, 0.2), (5.5, 0.5)), isotropic=False)
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
    "chaos_ct": _ct(
        folder="CHAOS/Train_Sets/CT",
        centre_mm=(0, 0, 45),
        shift_mm=(26, 18, 80),
        cases=_alone("{}", first=1),
        write=patients.write_chaos_ct,
    ),
    "msd_spleen": _ct(
        folder="MSD_Spleen/Task09_Spleen",
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
    "bcv": _ct(
        folder="BCV/RawData/Training",
        centre_mm=(0, 0, 40),
        shift_mm=(16, 12, 30),
        cases=_bcv_cases,
        write=patients.write_bcv,
        orientations=("LAS", "RAS"),
        whole="img/{patient}.nii.gz",
    ),
    "lits": _ct(
        folder="LiTS",
        centre_mm=(0, 0, 45),
        shift_mm=(18, 14, 40),
        cases=_lits_cases,
        write=patients.write_lits,
        orientations=("LAS", "RAS", "LPS"),
        whole="{patient}.nii",
    ),
    "kits19": _ct(
        folder="KiTS19/data",
        centre_mm=(0, 0, 20),
        shift_mm=(16, 12, 30),
        cases=_alone("case_{:05d}"),
        write=patients.write_kits19,
        # Slices lie along the first axis of the files.
        orientations=("IPL",),
        most=210,
    ),
    "amos_ct": _ct(
        folder="AMOS/amos22",
        centre_mm=(0, 0, 35),
        shift_mm=(20, 14, 40),
        cases=_alone("amos_{:04d}", first=1),
        write=patients.write_amos_ct,
        orientations=("LAS", "RAS"),
        whole="imagesTr/{patient}.nii.gz",
        most=500,
    ),
    "amos_mr": Entry(
        folder="AMOS/amos22",
        shape=(46, 36, 30),
        spacing_mm=((5.8, 0.2), (6.0, 0.3)),
        isotropic=False,
        centre_mm=(0, 0, 35),
        shift_mm=(18, 14, 24),
        cases=_alone("amos_{:04d}", first=507),
        write=patients.write_amos_mr,
        orientations=("LAS", "RAS"),
        whole="imagesTr/{patient}.nii.gz",
        most=94,
    ),
    "structseg_thorax": _ct(
        folder="StructSeg/Thoracic_OAR",
        centre_mm=(0, 0, 160),
        shift_mm=(14, 12, 16),
        cases=_alone("{}", first=1),
        write=patients.write_structseg_thorax,
        orientations=("LPS", "RAS"),
    ),
    "segthor": _ct(
        folder="SegTHOR/train",
        centre_mm=(0, 0, 155),
        shift_mm=(18, 14, 20),
        cases=_alone("Patient_{:02d}", first=1),
        write=patients.write_segthor,
        orientations=("LPS", "RAS"),
    ),
    "mnms": Entry(
        folder="MnMs/Training/Labeled",
        shape=(44, 40, 14),
        spacing_mm=((3.5, 0.3), (6.0, 0.0)),
        isotropic=False,
        centre_mm=(0, 0, 0),
        shift_mm=(26, 26, 10),
        cases=_mnms_cases,
        write=patients.write_mnms,
        orientations=("LPS", "RAS", "LAS"),
        oblique_degrees=12.0,
        most=2600,
    ),
    "msd_pancreas": _ct(
        folder="MSD_Pancreas/Task07_Pancreas",
        centre_mm=(0, 0, 30),
        shift_mm=(16, 12, 30),
        cases=_alone("pancreas_{:03d}", first=1),
        write=patients.write_msd_pancreas,
        orientations=("LAS", "RAS", "LPS"),
        whole="imagesTr/{patient}.nii.gz",
    ),
}
