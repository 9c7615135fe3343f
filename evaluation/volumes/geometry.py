"""Where a NIfTI or NRRD file says that its voxels lie, in mm, and what to do if it says two things.

A NIfTI header holds the voxel size twice: in `pixdim`, which the qform uses, and in the columns
of the sform. The rule, everywhere alike:

1. They agree within 1 %: the sform counts where it is set, else the qform, else `pixdim` alone.
2. One of them is 1 x 1 x 1 and the other is not: a program has lost the spacing there, and the
   other one counts (the qform, or the sform's directions with the voxel size of `pixdim`).
3. They differ otherwise: nobody can know; the file is refused with both.

Units of the header (metres, micrometres) are turned into mm. Sheared axes (a gantry tilt that was
not corrected) are refused: voxels are then no boxes, and no spacing describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError

AGREE = 0.01
"""Largest relative difference of two voxel sizes that are one, rounded."""

SHEAR = 0.01
"""Largest cosine between two axes that count as perpendicular (0.6 degrees)."""

# NIfTI's codes of xyzt_units; 0 (unknown) is read as mm, as every program does.
_NIFTI_UNIT_MM: Mapping[int, float] = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_MM: Mapping[str, float] = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres", ""), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 0.001),
}
Affine = NDArray[np.float64]


def nifti_affine(header: Any, file: Path) -> tuple[Affine, str]:
    """The affine (4, 4) of a NIfTI header in mm, and a remark if a rule had to decide.

    Args:
        header: as nibabel reads it.
        file: for messages.

    Raises:
        BenchError: sform and `pixdim` contradict each other, or a unit is not known.
    """
    factor = _NIFTI_UNIT_MM.get(int(header["xyzt_units"]) & 7)
    if factor is None:
        raise BenchError(
            "the header has an unknown unit of length", file=file, found=int(header["xyzt_units"]),
            expected="mm, metres or micrometres",
        )  # fmt: skip
    affine, remark = _in_own_units(header, file)
    if factor != 1:
        scaled: Affine = np.diag([factor, factor, factor, 1.0]) @ affine
        # A metre too many is a header's mistake that nobody's body fits into.
        affine, unit = scaled, "metres" if factor > 1 else "micrometres"
        remark = "; ".join(part for part in (remark, f"the header counts in {unit}") if part)
    return affine, remark


def _in_own_units(header: Any, file: Path) -> tuple[Affine, str]:
    best: Affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    if int(header["sform_code"]) == 0:
        return best, ""
    own = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    of_form = np.linalg.norm(best[:3, :3], axis=0)
    usable = np.isfinite(own).all() and (own > 0).all()
    if not usable or _alike(own, of_form):
        return best, ""
    said = f"sform {_text(of_form)} mm, pixdim {_text(own)} mm"
    if _alike(own, np.ones(3)):
        return best, f"two voxel sizes: {said}; the sform counts, pixdim has lost the spacing"
    if _alike(of_form, np.ones(3)):
        if int(header["qform_code"]) > 0:
            turned: Affine = np.asarray(header.get_qform(), dtype=np.float64)
        else:
            turned = best.copy()
            turned[:3, :3] = best[:3, :3] / of_form * own
        return turned, f"two voxel sizes: {said}; pixdim counts, the sform has lost the spacing"
    raise BenchError(
        "the header has two voxel sizes that contradict each other",
        file=file,
        found=said,
        expected="one voxel size",
        hint="write the right one into both (sform and pixdim), for example with nibabel",
    )


def unit_in_mm(words: str, file: Path) -> float:
    """How many mm a unit of an NRRD or MetaImage header is.

    Raises:
        BenchError: it is none that is known, or the axes have different ones.
    """
    units = {word.strip().strip('"').strip().lower() for word in words.split()} - {"", "none"}
    factors = {_UNIT_MM.get(unit) for unit in units} or {1.0}
    (factor, *others) = factors
    if others or factor is None:
        raise BenchError(
            "the header has an unknown unit of length", file=file, found=words.strip(),
            expected="one of mm, cm, m, um for all axes",
        )  # fmt: skip
    return factor


def refuse_shear(affine: Affine, file: Path) -> None:
    """Refuse axes that are not perpendicular.

    Raises:
        BenchError: says the angle.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > SHEAR:
        raise BenchError(
            "the axes of the volume are not perpendicular",
            file=file,
            found=f"{np.degrees(np.arccos(min(cosine, 1.0))):.1f} degrees between two of them",
            expected="90 degrees (a tilted gantry must be corrected by resampling)",
            hint="resample the scan and its masks to a grid with perpendicular axes",
        )


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool((np.abs(a - b) <= AGREE * np.maximum(a, b)).all())


def _text(spacing: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.5g}" for value in spacing)
