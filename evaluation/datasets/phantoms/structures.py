"""TotalSegmentator v1's structure names: one mask file each in every subject's folder."""

from __future__ import annotations

SIDES = ("left", "right")

_SINGLE = (
    "aorta", "brain", "colon", "duodenum", "esophagus", "face", "gallbladder",
    "heart_myocardium", "inferior_vena_cava", "liver", "lung_lower_lobe_left",
    "lung_lower_lobe_right", "lung_middle_lobe_right", "lung_upper_lobe_left",
    "lung_upper_lobe_right", "pancreas", "portal_vein_and_splenic_vein", "pulmonary_artery",
    "sacrum", "small_bowel", "spleen", "stomach", "trachea", "urinary_bladder",
)  # fmt: skip
_PAIRED = (
    "adrenal_gland", "autochthon", "clavicula", "femur", "gluteus_maximus", "gluteus_medius",
    "gluteus_minimus", "heart_atrium", "heart_ventricle", "hip", "humerus", "iliac_artery",
    "iliac_vena", "iliopsoas", "kidney", "scapula",
)  # fmt: skip
_LEVELS = (("C", 7), ("T", 12), ("L", 5))

V1_STRUCTURES: tuple[str, ...] = tuple(
    sorted(
        [
            *_SINGLE,
            *(f"{name}_{side}" for name in _PAIRED for side in SIDES),
            *(f"rib_{side}_{number}" for side in SIDES for number in range(1, 13)),
            *(f"vertebrae_{letter}{n}" for letter, last in _LEVELS for n in range(1, last + 1)),
        ]
    )
)
"""The 104 file names, without suffix."""
