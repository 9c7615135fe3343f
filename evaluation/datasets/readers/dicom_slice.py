"""One DICOM slice: its place in space and its grey values, or why it has none."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from evaluation.errors import BenchError
from evaluation.volumes.image_files import Array

_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_PIXEL_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
LARGEST_SLICE = 256 << 20
"""Bytes: 8192 x 8192 voxels of four bytes."""


@dataclass(frozen=True)
class Place:
    """Geometry of a slice: rows and columns, mm between them, axes (2, 3), first voxel in mm."""

    shape: Array
    spacing: Array
    axes: Array
    position: Array


def place_of(item: Any, file: Path) -> Place:
    """The geometry of a slice.

    Raises:
        BenchError: a tag holds no usable numbers.
    """
    spacing = _numbers(item, "PixelSpacing", 2, file)
    axes = _numbers(item, "ImageOrientationPatient", 6, file).reshape(2, 3)
    if (spacing <= 0).any():
        raise _wrong(item, "PixelSpacing", "two numbers above 0", file)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-2):
        expected = "two perpendicular directions of length 1"
        raise _wrong(item, "ImageOrientationPatient", expected, file)
    position = _numbers(item, "ImagePositionPatient", 3, file)
    return Place(np.array([item.Rows, item.Columns]), spacing, axes, position)


def _numbers(item: Any, tag: str, count: int, file: Path) -> Array:
    try:
        numbers = np.atleast_1d(np.array(item[tag].value, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise _wrong(item, tag, f"{count} numbers", file)
    return numbers


def _wrong(item: Any, tag: str, expected: str, file: Path) -> BenchError:
    return BenchError(
        f"the slice has no usable {tag}",
        file=file,
        found=str(item[tag].value) or "nothing",
        expected=expected,
        hint="download or export the series again",
    )


def read_slice(file: Path, *, pixels: bool) -> Any:
    """A slice as pydicom has it, without its pixels unless they are asked for.

    Raises:
        BenchError: it cannot be read, unpacks beyond measure, or (with pixels) has no geometry.
    """
    try:
        _refuse_bomb(file)
        item = pydicom.dcmread(file, stop_before_pixels=not pixels)
    except BenchError:
        raise
    except Exception as error:
        raise _corrupt(file, error) from error
    if pixels:
        absent = [tag for tag in _GEOMETRY if tag not in item]
        if absent:
            raise BenchError("slice has no geometry", file=file, found="no " + ", ".join(absent))
    return item


def _refuse_bomb(file: Path) -> None:
    """A deflated file unpacks to any size, and is unpacked whole before its header can be read."""
    with file.open("rb") as stream:
        stream.seek(128)
        if stream.read(4) != b"DICM":
            return
        meta = pydicom.filereader.read_file_meta_info(str(file))
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        # The packed part begins where the group of the file's own elements ends.
        stream.seek(132)
        own = data_element_generator(
            stream, is_implicit_VR=False, is_little_endian=True,
            stop_when=lambda tag, _kind, _length: tag.group != 2,
        )  # fmt: skip
        for _ in own:
            pass
        unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while piece := unpacker.unconsumed_tail or stream.read(1 << 16):
            size += len(unpacker.decompress(piece, 1 << 20))
            if size > LARGEST_SLICE:
                raise BenchError(
                    "the slice unpacks to more than a slice can hold", file=file,
                    expected=f"at most {LARGEST_SLICE >> 20} MiB",
                )  # fmt: skip


def pixels_of(item: Any, file: Path) -> Array:
    """Grey values (x, y) of a single-frame slice, rescaled (CT: HU).

    Raises:
        BenchError: it has several frames or colours, or cannot be decoded.
    """
    if int(item.get("NumberOfFrames") or 1) > 1:
        raise BenchError(
            "an enhanced (multi-frame) DICOM file is not read",
            file=file,
            found=f"{item.NumberOfFrames} frames in one file",
            expected="one file for each slice",
            hint="convert it to single frames or to NIfTI, for example with dcm2niix",
        )
    try:
        stored = np.asarray(item.pixel_array) if _decodes(item) else _by_gdcm(item, file)
    except BenchError:
        raise
    except Exception as error:
        raise _corrupt(file, error) from error
    slope = _rescaling(item, "RescaleSlope", 1, file)
    intercept = _rescaling(item, "RescaleIntercept", 0, file)
    if stored.ndim != 2:
        raise BenchError("not a single-frame grey slice", file=file, found=f"shape {stored.shape}")
    if slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int32).T * int(slope) + int(intercept)
    return (stored.astype(np.float32) * slope + intercept).T.astype(np.float32)


def _rescaling(item: Any, tag: str, default: float, file: Path) -> float:
    """A number of the rescaling; an empty element says as little as none."""
    if tag not in item or item[tag].value in (None, ""):
        return float(default)
    return float(_numbers(item, tag, 1, file)[0])


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
