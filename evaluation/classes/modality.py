"""How a scan was made; apart from `cases`, so that planning a run loads no image library."""

from __future__ import annotations

from typing import Literal, get_args

from evaluation.errors import BenchError

Modality = Literal["ct", "mri", "pet"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
MODALITY_TITLES: dict[Modality, str] = {"ct": "CT", "mri": "MR", "pet": "PET"}
"""As tables and figures print them."""
DICOM_MODALITIES: dict[str, Modality] = {"CT": "ct", "MR": "mri", "PT": "pet"}
"""What the tag `Modality` says of an image."""


def find_modality(name: str) -> Modality:
    """A modality by its name, in upper or lower case.

    Raises:
        BenchError: there is none of that name.
    """
    for modality in MODALITIES:
        if modality == name.lower():
            return modality
    raise BenchError("unknown modality", found=name, expected=", ".join(MODALITIES))
