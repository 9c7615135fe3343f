"""One virtual patient of each dataset: drawn, and written as the dataset's download has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.datasets.phantoms import chaos, layouts, tissues
from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.heart import LEFT, MUSCLE, RIGHT, draw_heart
from evaluation.datasets.phantoms.prostate import draw_pelvis
from evaluation.datasets.phantoms.torso import draw_torso, draw_torso_mr, draw_torso_pet

RECIPE = 1
"""Number of the recipe; another one means that the same seed gives other patients."""

SPLEEN_VALUES = {"spleen": 1}
ACDC_VALUES = {RIGHT: 1, MUSCLE: 2, LEFT: 3}
AUTOPET_STUDY = "study"


@dataclass(frozen=True)
class Patient:
    """Who is to be drawn.

    Args:
        name: the patient's id, as the dataset has it.
        index: position in the cohort.
        seed: the cohort's.
        rng: the patient's own random numbers.
        grid: field of view of the scans.
        pose: how the scanner stores them.
    """

    name: str
    index: int
    seed: int
    rng: np.random.Generator
    grid: FieldOfView
    pose: layouts.Pose

    @property
    def uid_seed(self) -> str:
        """What DICOM's unique ids are made from."""
        return f"satbench-{RECIPE}-{self.seed}-{self.index}"


# Each writes below a folder that stands for the dataset's own, and gives what must be moved from
# there, the part that says "this patient is whole" last.


def write_totalsegmentator(folder: Path, p: Patient) -> list[Path]:
    """A CT of the trunk and all masks."""
    return layouts.write_totalsegmentator(folder, p.name, draw_torso(p.rng, p.grid), p.pose)


def write_chaos_ct(folder: Path, p: Patient) -> list[Path]:
    """A CT of the abdomen and the liver."""
    return chaos.write_chaos_ct(folder, p.name, draw_torso(p.rng, p.grid), p.uid_seed)


def write_chaos_mr(folder: Path, p: Patient) -> list[Path]:
    """Three MR sequences of one abdomen."""
    anatomy = int(p.rng.integers(2**62))
    in_phase, out_of_phase, t2 = (
        draw_torso_mr(anatomy, p.grid, contrast, p.rng)
        for contrast in (tissues.T1_IN_PHASE, tissues.T1_OUT_OF_PHASE, tissues.T2_FAT_SUPPRESSED)
    )
    return chaos.write_chaos_mr(folder, p.name, in_phase, out_of_phase, t2, f"{p.uid_seed}-mr")


def write_msd_spleen(folder: Path, p: Patient) -> list[Path]:
    """A CT of the abdomen and the spleen."""
    torso = draw_torso(p.rng, p.grid)
    return layouts.write_decathlon(folder, p.name, torso, p.pose, SPLEEN_VALUES)


def write_acdc(folder: Path, p: Patient) -> list[Path]:
    """The relaxed and the contracted frame of one heart."""
    anatomy = int(p.rng.integers(2**62))
    frames = (1, contracted_frame(p.index))
    for number in frames:
        heart = draw_heart(anatomy, p.grid, contracted=number != 1, noise=p.rng)
        layouts.write_acdc_frame(folder, p.name, number, heart, p.pose, ACDC_VALUES)
    (folder / p.name / "Info.cfg").write_text(layouts.acdc_info(*frames), encoding="utf-8")
    return [folder / p.name]


def write_promise12(folder: Path, p: Patient) -> list[Path]:
    """An MR of the pelvis and the prostate."""
    return layouts.write_promise12(folder, p.name, draw_pelvis(p.rng, p.grid), p.pose)


def write_autopet(folder: Path, p: Patient) -> list[Path]:
    """A PET of the trunk and its lesions."""
    return layouts.write_autopet(folder, p.name, AUTOPET_STUDY, draw_torso_pet(p.rng, p.grid))


def contracted_frame(index: int) -> int:
    """Number of the contracted frame of a heart."""
    return 9 + index % 5


def autopet_patient(index: int) -> str:
    """The patient's id: a hash in the public set."""
    return f"PETCT_{hashlib.sha256(str(index).encode()).hexdigest()[:10]}"
