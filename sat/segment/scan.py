"""One scan as a person has it: a volume file in any orientation, or a folder of DICOM slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.classes.modality import DICOM_MODALITIES, Modality
from evaluation.errors import BenchError
from evaluation.files.writing import visible
from evaluation.volumes.image_files import (
    VOLUME_SUFFIXES,
    Array,
    Volume,
    from_ras,
    has_volume_suffix,
    orientation_of,
    read_volume,
    stem_of,
    to_ras,
)

# Formats in which the answer is written, by the suffix of the scan.
_OUTPUT_SUFFIX = {".nrrd": ".nrrd", ".mha": ".mha", ".mhd": ".mha"}
_AIR_HU = -200.0


@dataclass(frozen=True)
class Scan:
    """A scan and how it was stored.

    Attributes:
        path: the file or folder.
        stored: the array (x, y, z) as the file has it, and its affine.
        image: the same in RAS-closest orientation, float32 or the stored integers.
        suffix: suffix of files written for it.
        modality: what a DICOM header says, otherwise None.
        slices: files of a DICOM series in the order of the stored array's third axis.
    """

    path: Path
    stored: Volume
    image: Volume
    suffix: str
    modality: Modality | None = None
    slices: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Its name without suffix."""
        return self.path.name if self.path.is_dir() else stem_of(self.path)

    @property
    def orientation(self) -> str:
        """Axis codes of the stored array, such as `LPS`."""
        return orientation_of(self.stored.affine)

    def as_stored(self, array: Array) -> Volume:
        """An array (x, y, z) of the RAS image, turned back to the stored grid."""
        turned = from_ras(Volume(array, self.image.affine), self.orientation)
        return Volume(turned.array, self.stored.affine)


def read_scan(path: Path) -> Scan:
    """Read NIfTI, NRRD, MetaImage or a folder with one DICOM series.

    Raises:
        BenchError: nothing there, no image, a format that is not known, or voxels that are not
            finite numbers.
    """
    modality: Modality | None = None
    slices: tuple[Path, ...] = ()
    if path.is_dir():
        stored, modality, slices = _read_dicom(path)
    elif not path.exists():
        raise BenchError("image not found", file=path, hint="check the path")
    elif has_volume_suffix(path):
        stored = read_volume(path)
    else:
        is_slice = path.suffix.lower() in (".dcm", ".ima")
        raise BenchError(
            "one DICOM slice is no volume" if is_slice else "not an image format that is read here",
            file=path,
            expected=", ".join(VOLUME_SUFFIXES) + ", or a folder of DICOM slices",
            hint="give the folder of the whole series" if is_slice else None,
        )
    _require_numbers(stored.array, path)
    lower = path.name.lower()
    suffix = next((out for end, out in _OUTPUT_SUFFIX.items() if lower.endswith(end)), ".nii.gz")
    if path.is_dir():
        suffix = ".nii.gz"
    return Scan(path, stored, to_ras(stored), suffix, modality, slices)


def _read_dicom(folder: Path) -> tuple[Volume, Modality | None, tuple[Path, ...]]:
    import pydicom
    from pydicom.misc import is_dicom

    from evaluation.datasets.readers.dicom import image_series, read_series, series_files

    files = [f for f in series_files(folder) if f.suffix.lower() == ".dcm" or is_dicom(f)]
    if not files:
        volumes = [f for f in visible(folder) if has_volume_suffix(f)]
        names = sorted(f.name for f in folder.iterdir())
        raise BenchError(
            "the folder holds no DICOM slice",
            file=folder,
            found=", ".join(names[:5]) + (" ..." if len(names) > 5 else "") or "nothing",
            expected="the slices of one CT or MR series",
            hint=f"for this volume, give the file itself: {volumes[0]}" if volumes else None,
        )
    chosen = image_series(files)
    header: Any = pydicom.dcmread(chosen[0], stop_before_pixels=True)
    modality = DICOM_MODALITIES.get(str(header.get("Modality")))
    series = read_series(chosen)
    return series.volume, modality, tuple(chosen[index] for index in series.order)


def _require_numbers(array: Array, path: Path) -> None:
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise BenchError("the voxels are no grey values", file=path, found=str(array.dtype))
    if np.issubdtype(array.dtype, np.floating):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise BenchError(
                "the image holds voxels that are not numbers (NaN or infinite)",
                file=path,
                found=f"{bad} of {array.size} voxels",
                hint="write the image again without them",
            )


def doubts(scan: Scan, modality: Modality) -> list[str]:
    """What speaks against the modality that the user named; empty if nothing does."""
    found = [scan.stored.remark] if scan.stored.remark else []
    if scan.modality is not None and scan.modality != modality:
        found.append(f"the DICOM header says {scan.modality}, not {modality}")
    lowest: float = float(_sample(scan.image.array).min())
    if modality == "ct" and lowest >= 0:
        found.append("the image has no negative value: is it a CT in Hounsfield units?")
    if modality != "ct" and lowest < _AIR_HU:
        found.append(f"the image has values of {lowest:g}: is it a CT?")
    return found


def _sample(array: Array) -> NDArray[Any]:
    """Every third voxel along each axis, enough to know the range."""
    return array[::3, ::3, ::3]
