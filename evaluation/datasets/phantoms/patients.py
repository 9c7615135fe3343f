"""One virtual patient of each dataset: drawn, and written as the dataset's download has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.datasets.phantoms import additions, chaos, layouts, tissues
from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.heart import LEFT, MUSCLE, RIGHT, draw_heart
from evaluation.datasets.phantoms.prostate import draw_pelvis
from evaluation.datasets.phantoms.torso import draw_torso, draw_torso_mr, draw_torso_pet

RECIPE = 1
"""Number of the recipe; another one means that the same seed gives other patients."""

# Structures of the phantoms by label values. Of AMOS' duodenum, bladder and prostate and of BCV's
# portal vein there is nothing.
SPLEEN_VALUES = {"spleen": 1}
PANCREAS_VALUES = {"pancreas": 1, "pancreas_tumour": 2}
DECATHLON = {"msd_spleen": ("Spleen", SPLEEN_VALUES), "msd_pancreas": ("Pancreas", PANCREAS_VALUES)}
LIVER_VALUES = {"liver": 1, "liver_tumour": 2}
KIDNEY_VALUES = {"kidney_right": 1, "kidney_left": 1, "kidney_tumour": 2}
BCV_VALUES = {
    "spleen": 1, "kidney_right": 2, "kidney_left": 3, "gallbladder": 4, "esophagus": 5, "liver": 6,
    "stomach": 7, "aorta": 8, "inferior_vena_cava": 9, "pancreas": 11, "adrenal_gland_right": 12,
    "adrenal_gland_left": 13,
}  # fmt: skip
AMOS_VALUES = {
    "spleen": 1, "kidney_right": 2, "kidney_left": 3, "gallbladder": 4, "esophagus": 5, "liver": 6,
    "stomach": 7, "aorta": 8, "inferior_vena_cava": 9, "pancreas": 10, "adrenal_gland_right": 11,
    "adrenal_gland_left": 12,
}  # fmt: skip
_HEART = (
    "heart_myocardium", "heart_ventricle_left", "heart_ventricle_right", "heart_atrium_left",
    "heart_atrium_right",
)  # fmt: skip
THORAX_VALUES = {
    "lung_upper_lobe_left": 1, "lung_lower_lobe_left": 1, "lung_upper_lobe_right": 2,
    "lung_middle_lobe_right": 2, "lung_lower_lobe_right": 2, **dict.fromkeys(_HEART, 3),
    "esophagus": 4, additions.TRACHEA: 5, additions.CORD: 6,
}  # fmt: skip
SEGTHOR_VALUES = {"esophagus": 1, **dict.fromkeys(_HEART, 2), additions.TRACHEA: 3, "aorta": 4}
ACDC_VALUES = {RIGHT: 1, MUSCLE: 2, LEFT: 3}
MNMS_VALUES = {LEFT: 1, MUSCLE: 2, RIGHT: 3}
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


def write_msd_pancreas(folder: Path, p: Patient) -> list[Path]:
    """A CT of the abdomen, the pancreas and its tumour."""
    torso = draw_torso(p.rng, p.grid, additions.tumour("pancreas_tumour", ("pancreas",), (12, 18)))
    return layouts.write_decathlon(folder, p.name, torso, p.pose, PANCREAS_VALUES)


def write_bcv(folder: Path, p: Patient) -> list[Path]:
    """A CT of the abdomen and twelve organs."""
    number = p.name.removeprefix("img")
    image, label = folder / f"img/{p.name}.nii.gz", folder / f"label/label{number}.nii.gz"
    return layouts.write_pair(image, label, draw_torso(p.rng, p.grid), p.pose, BCV_VALUES)


def write_lits(folder: Path, p: Patient) -> list[Path]:
    """A CT of the liver and its tumour, not compressed."""
    torso = draw_torso(p.rng, p.grid, additions.tumour("liver_tumour", ("liver",), (14, 26)))
    number = p.name.removeprefix("volume-")
    image, label = folder / f"{p.name}.nii", folder / f"segmentation-{number}.nii"
    return layouts.write_pair(image, label, torso, p.pose, LIVER_VALUES)


def write_kits19(folder: Path, p: Patient) -> list[Path]:
    """A CT of the kidneys and the tumour of one of them."""
    kidneys = ("kidney_right", "kidney_left")
    torso = draw_torso(p.rng, p.grid, additions.tumour("kidney_tumour", kidneys, (16, 26)))
    image, label = (folder / p.name / f"{n}.nii.gz" for n in ("imaging", "segmentation"))
    layouts.write_pair(image, label, torso, p.pose, KIDNEY_VALUES)
    return [folder / p.name]


def write_amos_ct(folder: Path, p: Patient) -> list[Path]:
    """A CT of the abdomen and twelve organs."""
    image, label = (folder / f"{n}Tr/{p.name}.nii.gz" for n in ("images", "labels"))
    return layouts.write_pair(image, label, draw_torso(p.rng, p.grid), p.pose, AMOS_VALUES)


def write_amos_mr(folder: Path, p: Patient) -> list[Path]:
    """An MR of the abdomen in a sequence that nothing names, and the same organs."""
    contrast = (tissues.T1_IN_PHASE, tissues.T2_FAT_SUPPRESSED)[p.index % 2]
    torso = draw_torso_mr(int(p.rng.integers(2**62)), p.grid, contrast, p.rng)
    image, label = (folder / f"{n}Tr/{p.name}.nii.gz" for n in ("images", "labels"))
    return layouts.write_pair(image, label, torso, p.pose, AMOS_VALUES)


def write_structseg_thorax(folder: Path, p: Patient) -> list[Path]:
    """A CT of the thorax and six organs at risk."""
    torso = draw_torso(p.rng, p.grid, additions.airway_and_cord)
    image, label = (folder / p.name / f"{n}.nii.gz" for n in ("data", "label"))
    layouts.write_pair(image, label, torso, p.pose, THORAX_VALUES)
    return [folder / p.name]


def write_segthor(folder: Path, p: Patient) -> list[Path]:
    """A CT of the thorax and four organs at risk."""
    torso = draw_torso(p.rng, p.grid, additions.airway_and_cord)
    image, label = (folder / p.name / f"{n}.nii.gz" for n in (p.name, "GT"))
    layouts.write_pair(image, label, torso, p.pose, SEGTHOR_VALUES)
    return [folder / p.name]


def write_mnms(folder: Path, p: Patient) -> list[Path]:
    """A cine series of one heart with its relaxed and its contracted frame annotated."""
    anatomy = int(p.rng.integers(2**62))
    frames = [
        draw_heart(anatomy, p.grid, contracted=contracted, noise=p.rng)
        for contracted in (False, True)
    ]
    return layouts.write_mnms(folder, p.name, frames, p.pose, MNMS_VALUES)


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
    torso = draw_torso_pet(p.rng, p.grid, additions.lesions)
    return layouts.write_autopet(folder, p.name, AUTOPET_STUDY, torso)


def contracted_frame(index: int) -> int:
    """Number of the contracted frame of a heart."""
    return 9 + index % 5


def autopet_patient(index: int) -> str:
    """The patient's id: a hash in the public set."""
    return f"PETCT_{hashlib.sha256(str(index).encode()).hexdigest()[:10]}"
