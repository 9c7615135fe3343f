"""What a modality shows of the tissues of the trunk: one table for each kind of scan.

Organs that a table tells apart look alike in another one: liver and spleen change places between
T1 and T2, the kidneys shine in PET, fat is bright in T1 and gone in T2 with fat suppression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MeanAndHalfRange = tuple[float, float]


@dataclass(frozen=True)
class Contrast:
    """Intensities of one kind of scan.

    Args:
        air: of what is outside the body.
        tissues: name -> mean and half range over patients.
        bowel: what the unnamed loops of a patient may have.
        canal: of the spinal canal.
        step: what a difference of 1 HU between two neighbouring tissues is here; 0 shows none.
    """

    air: float
    tissues: Mapping[str, MeanAndHalfRange]
    bowel: tuple[float, ...]
    canal: float
    step: float = 0.0


# In HU. Liver, spleen, kidney, vessels, heart and bowel overlap on purpose: no intensity window
# may tell them apart.
CT = Contrast(
    air=-1000.0,
    tissues={
        "fat": (-100, 10),
        "muscle": (64, 8),
        "bone": (210, 35),
        "lung": (-840, 30),
        "liver": (84, 20),
        "spleen": (110, 20),
        "kidney": (140, 25),
        "stomach": (45, 20),
        "pancreas": (85, 12),
        "gallbladder": (10, 8),
        "aorta": (145, 30),
        "vena cava": (110, 25),
        "heart muscle": (95, 15),
        "adrenal": (70, 12),
        "oesophagus": (45, 10),
    },
    bowel=(30.0, 50.0, 80.0, 110.0, -500.0),
    canal=35.0,
    step=1.0,
)
# In units of about 0 to 1.
T1_IN_PHASE = Contrast(
    air=0.02,
    tissues={
        "fat": (0.85, 0.06),
        "muscle": (0.38, 0.04),
        "bone": (0.48, 0.06),
        "lung": (0.06, 0.02),
        "liver": (0.56, 0.06),
        "spleen": (0.36, 0.05),
        "kidney": (0.44, 0.06),
        "stomach": (0.28, 0.08),
        "pancreas": (0.60, 0.05),
        "gallbladder": (0.24, 0.08),
        "aorta": (0.20, 0.06),
        "vena cava": (0.24, 0.06),
        "heart muscle": (0.42, 0.05),
        "adrenal": (0.42, 0.04),
        "oesophagus": (0.38, 0.04),
    },
    bowel=(0.22, 0.34, 0.46, 0.58, 0.05),
    canal=0.28,
)
T1_OUT_OF_PHASE = Contrast(
    air=0.02,
    tissues={
        **T1_IN_PHASE.tissues,
        "fat": (0.60, 0.06),
        "bone": (0.34, 0.05),
        "liver": (0.46, 0.08),
        "pancreas": (0.50, 0.06),
    },
    bowel=T1_IN_PHASE.bowel,
    canal=0.28,
)
T2_FAT_SUPPRESSED = Contrast(
    air=0.02,
    tissues={
        "fat": (0.14, 0.04),
        "muscle": (0.20, 0.03),
        "bone": (0.20, 0.04),
        "lung": (0.05, 0.02),
        "liver": (0.32, 0.05),
        "spleen": (0.60, 0.08),
        "kidney": (0.72, 0.08),
        "stomach": (0.60, 0.20),
        "pancreas": (0.42, 0.05),
        "gallbladder": (0.95, 0.05),
        "aorta": (0.09, 0.03),
        "vena cava": (0.13, 0.04),
        "heart muscle": (0.30, 0.04),
        "adrenal": (0.40, 0.04),
        "oesophagus": (0.32, 0.04),
    },
    bowel=(0.15, 0.35, 0.58, 0.85, 0.05),
    canal=0.90,
)
# Standardised uptake of FDG. Heart and kidneys may be as hot as a lesion: the place tells them.
FDG_PET = Contrast(
    air=0.0,
    tissues={
        "fat": (0.30, 0.08),
        "muscle": (0.70, 0.15),
        "bone": (1.30, 0.30),
        "lung": (0.45, 0.10),
        "liver": (2.30, 0.30),
        "spleen": (1.80, 0.25),
        "kidney": (3.20, 0.80),
        "stomach": (1.60, 0.40),
        "pancreas": (1.40, 0.20),
        "gallbladder": (0.60, 0.20),
        "aorta": (1.60, 0.20),
        "vena cava": (1.60, 0.20),
        "heart muscle": (4.00, 2.50),
        "adrenal": (1.40, 0.20),
        "oesophagus": (1.50, 0.20),
    },
    bowel=(0.8, 1.2, 1.6, 2.4, 3.2),
    canal=0.8,
)
