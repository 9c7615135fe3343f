"""DICOM series with true slice positions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from evaluation.errors import BenchError
from evaluation.files.writing import is_hidden
from evaluation.volumes.image_files import Array, Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_PIXEL_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
IMAGE_MODALITIES = ("CT", "MR")
# A missing slice moves the others by at least half a step from equal distances.
UNEVEN_STEPS = 0.25


@dataclass(frozen=True)
class Series:
    """A series as a volume whose third axis ascends along the slice normal.

    `order[k]` is the index, among the files as they were given, of slice k.
    """

    volume: Volume
    order: tuple[int, ...]


def natural_key(path: Path) -> tuple[tuple[int, str], ...]:
    """Sort `slice10` after `slice9`."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", path.name.lower())
        if part
    )


def series_files(folder: Path) -> tuple[Path, ...]:
    """All DICOM files at or below a folder, in natural order; linked folders are not entered.

    Reads names only: files with the suffix `.dcm`, or all visible files where none has it.
    """
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        files += [Path(parent) / name for name in names if not is_hidden(name)]
    dicom = [file for file in files if file.suffix.lower() == ".dcm"] or files
    return tuple(sorted(dicom, key=lambda file: (str(file.parent), natural_key(file))))


def image_series(files: Sequence[Path]) -> list[Path]:
    """Those files that belong to the one CT or MR series among them (others hold contours).

    Raises:
        BenchError: there is no image series, or more than one.
    """
    groups: dict[str, list[Path]] = {}
    names: dict[str, str] = {}
    for file in files:
        header = _read(file, pixels=False)
        if header.get("Modality") in IMAGE_MODALITIES:
            series = str(header.get("SeriesInstanceUID"))
            groups.setdefault(series, []).append(file)
            names[series] = f"{header.Modality} {header.get('SeriesDescription', '')}".strip()
    if len(groups) != 1:
        listed = [
            f"{names[series]}: {len(members)} files, the first is {members[0].name}"
            for series, members in groups.items()
        ]
        raise BenchError(
            "the folder must hold one image series",
            file=files[0].parent if files else None,
            found="\n            ".join(
                [f"{len(groups)} CT or MR series in {len(files)} files", *listed[:8]]
            ),
            expected="1",
            hint="move the others to folders of their own" if groups else None,
        )
    return next(iter(groups.values()))


def read_series(files: Sequence[Path]) -> Series:
    """Read single-frame slices into a volume (x, y, z), rescaled (CT: HU), with an RAS affine.

    The step between slices comes from ImagePositionPatient: the tag SliceThickness is the
    thickness of the reconstructed slab, not the distance to the next one.

    Raises:
        BenchError: unreadable, mixed or unevenly spaced slices.
    """
    if len(files) < 2:
        raise BenchError(
            "a DICOM series needs at least two slices",
            file=files[0] if files else None,
            found=len(files),
        )
    slices = [_read(file, pixels=True) for file in files]
    first = slices[0]
    axis_x, axis_y = np.array(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    for file, item in zip(files, slices, strict=True):
        for tag in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            if not np.allclose(item[tag].value, first[tag].value, atol=1e-4):
                raise BenchError(
                    f"slices of one series differ in {tag}",
                    file=file,
                    found=item[tag].value,
                    expected=f"{first[tag].value} of {files[0].name}",
                )
    positions = np.array([item.ImagePositionPatient for item in slices], dtype=float)
    along = positions @ np.cross(axis_x, axis_y)
    order = tuple(int(index) for index in np.argsort(along, kind="stable"))
    _require_even_steps(along[list(order)], [files[i] for i in order])
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns); x runs along a row, over the columns.
    affine[:3, 0] = axis_x * float(first.PixelSpacing[1])
    affine[:3, 1] = axis_y * float(first.PixelSpacing[0])
    affine[:3, 2] = (positions[order[-1]] - positions[order[0]]) / (len(slices) - 1)
    affine[:3, 3] = positions[order[0]]
    array = np.stack([_pixels(slices[i], files[i]) for i in order], axis=-1)
    return Series(Volume(array, _LPS_TO_RAS @ affine), order)


def _require_even_steps(along_mm: Array, files: Sequence[Path]) -> None:
    step = (along_mm[-1] - along_mm[0]) / (len(along_mm) - 1)
    even = along_mm[0] + step * np.arange(len(along_mm))
    if step < 1e-3 or np.abs(along_mm - even).max() > UNEVEN_STEPS * step:
        steps = np.diff(along_mm)
        worst = int(np.abs(steps - np.median(steps)).argmax())
        raise BenchError(
            "slices are not evenly spaced: one is missing or there twice",
            file=files[worst + 1],
            found=f"{steps[worst]:.3f} mm from the slice before it ({files[worst].name})",
            expected=f"{np.median(steps):.3f} mm",
            hint="download the series again",
        )


def _read(file: Path, *, pixels: bool) -> Any:
    try:
        item = pydicom.dcmread(file, stop_before_pixels=not pixels)
    except Exception as error:
        raise _corrupt(file, error) from error
    if pixels:
        absent = [tag for tag in _GEOMETRY if tag not in item]
        if absent:
            raise BenchError("slice has no geometry", file=file, found="no " + ", ".join(absent))
    return item


def _pixels(item: Any, file: Path) -> Array:
    try:
        stored = np.asarray(item.pixel_array) if _decodes(item) else _by_gdcm(item, file)
    except BenchError:
        raise
    except Exception as error:
        raise _corrupt(file, error) from error
    slope, intercept = float(item.get("RescaleSlope", 1)), float(item.get("RescaleIntercept", 0))
    if stored.ndim != 2:
        raise BenchError("not a single-frame grey slice", file=file, found=f"shape {stored.shape}")
    if slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int32).T * int(slope) + int(intercept)
    return (stored.astype(np.float32) * slope + intercept).T.astype(np.float32)


def _decodes(item: Any) -> bool:
    """Whether pydicom has what the slice's transfer syntax needs (none for lossless JPEG)."""
    syntax = item.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return True
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _by_gdcm(item: Any, file: Path) -> Array:
    """The stored values of a slice, decoded by the GDCM inside SimpleITK.

    It gets the pixels alone, as a secondary capture: from the whole file it would rescale some
    modalities and not others, and a slice is rescaled in one place.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = item.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    for name in _PIXEL_TAGS:
        bare.add(item[name])
    if item.SamplesPerPixel == 1:
        bare.PhotometricInterpretation = "MONOCHROME2"  # as stored: neither inverted nor coloured
    bare.file_meta = meta
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "slice.dcm"
            pydicom.dcmwrite(path, bare, enforce_file_format=True)
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise BenchError(
            "the pixels of this DICOM file cannot be decoded: no decoder for their transfer "
            "syntax, or they are corrupt",
            file=file,
            found=f"{meta.TransferSyntaxUID.name} ({meta.TransferSyntaxUID})",
            hint="convert the series, for example by `gdcmconv --raw` or dcmtk's `dcmdjpeg`; if "
            "that fails, too, download it again",
        ) from error
    return np.asarray(array[0] if len(array) == 1 else array)


def _corrupt(file: Path, error: Exception) -> BenchError:
    return BenchError(
        "DICOM file cannot be read; it is truncated or corrupt",
        file=file,
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        hint="download the series again",
    )
