"""DICOM series as scanners write them, made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)

_EMPTY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip


def write_ct(
    folder: Path,
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    origin_mm: tuple[float, float, float],
) -> None:
    """One axial CT series, a file a slice.

    Args:
        folder: is made.
        voxels: HU (x, y, z), x to the left of the patient, y to the back (LPS).
        spacing_mm: along x, y, z.
        origin_mm: LPS position of the first voxel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shared: dict[str, Any] = dict.fromkeys(_EMPTY, "") | {
        "SOPClassUID": CTImageStorage, "Modality": "CT", "SeriesNumber": 1,
        "PatientID": "p1", "PatientName": "Made^Up", "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [spacing_mm[1], spacing_mm[0]], "SliceThickness": spacing_mm[2],
        "Rows": voxels.shape[1], "Columns": voxels.shape[0], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 0,
    }  # fmt: skip
    for z in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        for name, value in shared.items():
            setattr(item, name, value)
        item.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        item.InstanceNumber = z + 1
        item.ImagePositionPatient = [*origin_mm[:2], origin_mm[2] + spacing_mm[2] * z]
        item.PixelData = np.ascontiguousarray(voxels[..., z].T).tobytes()
        item.save_as(folder / f"{z:03}.dcm", enforce_file_format=True)


def write_rtstruct(
    path: Path, contours: dict[str, list[list[tuple[float, float, float]]]], frame: str = ""
) -> None:
    """Structures by name, each a list of closed contours of points in mm (LPS)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    item.SOPClassUID, item.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    item.Modality = "RTSTRUCT"
    item.ReferencedFrameOfReferenceSequence = [_with(FrameOfReferenceUID=frame)] if frame else []
    item.StructureSetROISequence = [
        _with(ROINumber=number, ROIName=name) for number, name in enumerate(contours, start=1)
    ]
    item.ROIContourSequence = [
        _with(
            ReferencedROINumber=number,
            ContourSequence=[
                _with(
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.6g}" for point in points for value in point],
                )
                for points in of_one
            ],
        )
        for number, of_one in enumerate(contours.values(), start=1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    item.save_as(path, enforce_file_format=True)


def _with(**values: Any) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item
