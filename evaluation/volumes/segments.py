"""Files that name their segments: `.seg.nrrd` of 3D Slicer, DICOM SEG and RTSTRUCT.

Slicer's header names each segment and says in which layer and under which value its voxels lie
(`Segment0_Name`, `Segment0_Layer`, `Segment0_LabelValue`); several layers are stored as the first
axis of the array.
"""

from __future__ import annotations

import re
import unicodedata
from math import prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.uid import SegmentationStorage

from evaluation.errors import BenchError, printable
from evaluation.volumes.dicom_segments import object_kind, read_seg, rtstruct_names, seg_labels
from evaluation.volumes.headers import read_text_header, refuse_foreign_voxels
from evaluation.volumes.image_files import checked_geometry, from_itk, itk_reader, require_memory
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

SUFFIX = ".seg.nrrd"
_KEY = re.compile(r"Segment(\d+)_(Name|Layer|LabelValue)")


def has_segments(path: Path) -> bool:
    """Whether a file names segments; reads the header only, and of no other format."""
    if object_kind(path) is not None:
        return True
    if not path.name.lower().endswith(SUFFIX):
        return False
    try:
        header = read_text_header(path)
    except (BenchError, OSError):
        return False  # said where it is read
    return header is not None and any(map(_KEY.fullmatch, header.own))


def segments_of(path: Path) -> dict[str, Part]:
    """Layer and value of each named segment; of DICOM, layer 0 and its number.

    Raises:
        BenchError: two segments have one name, or a layer or value is no number.
    """
    if (kind := object_kind(path)) is not None:
        names = seg_labels(path) if kind == SegmentationStorage else rtstruct_names(path)
        return {n: Part(layer=0, values=(i,)) for n, i in names.items()}
    header = read_text_header(path)
    found: dict[str, dict[str, str]] = {}
    for key, value in (header.own if header else {}).items():
        if match := _KEY.fullmatch(key):
            found.setdefault(match[1], {})[match[2]] = value
    segments: dict[str, Part] = {}
    for number, says in sorted(found.items(), key=lambda item: int(item[0])):
        called = says.get("Name", f"Segment_{number}").strip()
        name = printable(unicodedata.normalize("NFC", called))
        try:
            part = Part(layer=int(says.get("Layer", "0")), values=(int(says["LabelValue"]),))
        except (KeyError, ValueError) as error:
            raise BenchError(
                f"the segment `{name}` says no layer or value", file=path, found=says,
                expected="whole numbers in Layer and LabelValue",
            ) from error  # fmt: skip
        if name in segments:
            raise BenchError(
                f"two segments are called `{name}`", file=path, hint="rename one of them"
            )
        segments[name] = part
    return segments


def read_segments(path: Path) -> Segmentation:
    """Every segment of a file as a class of its name; not of an RTSTRUCT, which has no voxels.

    Raises:
        BenchError: it cannot be read, names no segment or one in a layer that is not there.
    """
    if object_kind(path) is not None:
        return read_seg(path)
    header, segments = read_text_header(path), segments_of(path)
    refuse_foreign_voxels(path, header)
    try:
        reader = itk_reader(path)
        one = sitk.Image([1] * 3, reader.GetPixelID(), reader.GetNumberOfComponents())
        require_memory(path, prod(reader.GetSize()) * sitk.GetArrayViewFromImage(one).nbytes)
        image = reader.Execute()
    except RuntimeError as error:
        raise BenchError(
            "volume cannot be read; it is truncated or corrupt", file=path,
            found=" ".join(str(error).split())[:200], hint="write the file again",
        ) from error  # fmt: skip
    count = image.GetNumberOfComponentsPerPixel()
    parts = (
        [sitk.VectorIndexSelectionCast(image, i) for i in range(count)] if count > 1 else [image]
    )
    volumes = [checked_geometry(from_itk(part), path) for part in parts]
    if any(not np.issubdtype(volume.array.dtype, np.integer) for volume in volumes):
        raise BenchError("segments are not whole numbers", file=path, found=volumes[0].array.dtype)
    if far := [name for name, part in segments.items() if part.layer >= count or part.layer < 0]:
        raise BenchError(
            f"the segment `{far[0]}` lies in a layer that is not there", file=path,
            found=segments[far[0]].layer, expected=f"0 to {count - 1}",
        )  # fmt: skip
    places = {name: ClassPlace(kind="annotated", parts=(part,)) for name, part in segments.items()}
    return Segmentation(tuple(v.array for v in volumes), volumes[0].affine, places)
