"""DICOM SEG: segments of a scan as one file, read and written by highdicom.

Such a file holds only the slices on which something is drawn. The segmentation that is read from
it is `partial`: what lies beside its slices is background.
"""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID, RTStructureSetStorage, SegmentationStorage

from evaluation import __version__
from evaluation.errors import BenchError, printable
from evaluation.files.writing import atomic_path
from evaluation.volumes.image_files import (
    LPS_TO_RAS,
    Array,
    Volume,
    checked_geometry,
    require_memory,
)
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks

SUFFIX = ".dcm"
_LABEL = 64  # characters that DICOM allows for a segment's label


def object_kind(path: Path) -> UID | None:
    """`SegmentationStorage` or `RTStructureSetStorage`, else None; reads the first bytes only."""
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return None
    try:
        found = pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError):
        return None
    kind = found.get("SOPClassUID")
    return kind if kind in (SegmentationStorage, RTStructureSetStorage) else None


def require_highdicom(path: Path) -> None:
    """Refuse to go on without the optional package.

    Raises:
        BenchError: it is not installed.
    """
    if find_spec("highdicom") is None:
        raise BenchError(
            "DICOM SEG needs the package highdicom", file=path,
            hint="pip install 'satbench[clinical]'",
        )  # fmt: skip


def seg_labels(path: Path) -> dict[str, int]:
    """Label of each segment and its number.

    Raises:
        BenchError: it cannot be read, or two segments have one label.
    """
    with readable(path):
        header = pydicom.dcmread(path, specific_tags=["SegmentSequence"], stop_before_pixels=True)
        found = [(str(s.SegmentLabel), int(s.SegmentNumber)) for s in header.SegmentSequence]
    return named_once(path, found)


def rtstruct_names(path: Path) -> dict[str, int]:
    """Name of each structure of an RTSTRUCT and its number.

    Raises:
        BenchError: it cannot be read, or two structures have one name.
    """
    with readable(path):
        header = pydicom.dcmread(path, specific_tags=["StructureSetROISequence"])
        found = [(str(roi.ROIName), int(roi.ROINumber)) for roi in header.StructureSetROISequence]
    return named_once(path, found)


def named_once(path: Path, found: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Names and numbers of segments, the names as text for tables.

    Raises:
        BenchError: two have one name.
    """
    names: dict[str, int] = {}
    for label, number in found:
        name = printable(unicodedata.normalize("NFC", label.strip()))
        if name in names:
            raise BenchError(
                f"two segments are called `{name}`", file=path, hint="rename one of them"
            )
        names[name] = number
    return names


def read_seg(path: Path) -> Segmentation:
    """Every segment as a class of its label; where none overlap, with its number as value.

    Raises:
        BenchError: it cannot be read, holds fractions, or its slices make up no volume.
    """
    require_highdicom(path)
    import highdicom

    names = seg_labels(path)
    with readable(path):
        seg = highdicom.seg.segread(path)
        if seg.segmentation_type.value == "FRACTIONAL":
            raise BenchError(
                "the segments are fractions, not masks", file=path, found="FRACTIONAL",
                expected="BINARY or LABELMAP", hint="store them above a threshold",
            )  # fmt: skip
        if (grid := seg.get_volume_geometry()) is not None:
            # One slice a mile away makes a volume of a mile.
            require_memory(path, prod(grid.spatial_shape))
        whole = _combined(seg, list(names.values()))
        if whole is None:
            alone = {n: _as_xyz(seg.get_volume(segment_numbers=[i])) for n, i in names.items()}
            affine = checked_geometry(next(iter(alone.values())), path).affine
            masks = {name: np.asarray(mask.array != 0) for name, mask in alone.items()}
            return replace(pack_masks(masks, affine, "annotated"), partial=True)
    volume = checked_geometry(_as_xyz(whole), path)
    places = {
        name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=(number,)),))
        for name, number in names.items()
    }
    return Segmentation((volume.array,), volume.affine, places, partial=True)


def write_seg(
    path: Path,
    slices: Sequence[Path],
    names: Sequence[str],
    mask_of: Callable[[str], NDArray[np.bool_]],
    labels: Array | None,
) -> None:
    """Write segments of a scan, numbered from 1 in the order of their names, atomically.

    Args:
        path: of the file.
        slices: the scan's single-frame files, in the order of the masks' third axis.
        names: of the segments.
        mask_of: mask (x, y, z) of a segment by name, with x along the scan's rows.
        labels: all of them as one label map (x, y, z) of their numbers, if none overlap.

    Raises:
        BenchError: highdicom is not installed, or cannot refer to this series.
    """
    require_highdicom(path)
    import highdicom
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        "satbench", codes.cid7162.ArtificialIntelligence, __version__
    )
    # Types by the classes' own names: there is no table of them in a public scheme.
    kinds = [
        highdicom.sr.CodedConcept(
            hashlib.sha256(name.encode()).hexdigest()[:12], "99SATBENCH", name[:_LABEL]
        )
        for name in names
    ]
    described = [
        SegmentDescription(
            number, name[:_LABEL], codes.SCT.Tissue, kind, SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm,
        )
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True), start=1)
    ]  # fmt: skip
    if labels is None:
        pixels = np.stack([mask_of(name).T for name in names], axis=-1).astype(np.uint8)
    else:
        pixels = labels.T.copy()
    try:
        # Warnings are of the scan's own header, such as a name of one word.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seg = highdicom.seg.Segmentation(
                source_images=[pydicom.dcmread(file) for file in slices],
                pixel_array=pixels,
                segmentation_type="BINARY",
                segment_descriptions=described,
                series_instance_uid=highdicom.UID(),
                series_number=100,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="satbench",
                manufacturer_model_name="satbench",
                software_versions=__version__,
                device_serial_number="0",
                content_label="SEGMENTATION",
            )
            with atomic_path(path) as temporary:
                seg.save_as(temporary)
    except (AttributeError, ValueError, TypeError) as error:
        raise BenchError(
            "no DICOM SEG can be made for this series", file=slices[0].parent,
            found=f"{type(error).__name__}: {error}",
            hint="export the series whole, with its study and frame of reference, or write NIfTI",
        ) from error  # fmt: skip


def _combined(seg: Any, numbers: list[int]) -> Any | None:
    """One label map of all segments; None where some overlap."""
    try:
        return seg.get_volume(combine_segments=True, segment_numbers=numbers)
    except RuntimeError as error:
        if "overlap" in str(error):
            return None
        raise


def _as_xyz(volume: Any) -> Volume:
    """A volume of highdicom, (slice, row, column) in LPS, as (x, y, z) in RAS."""
    array = volume.array[..., 0] if volume.array.ndim == 4 else volume.array
    affine = LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]
    return Volume(np.asfortranarray(array.transpose(2, 1, 0)), affine)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """A block that reads a DICOM file; whatever it raises becomes a message about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(
            "the DICOM segmentation cannot be read", file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="export it again",
        ) from error  # fmt: skip
