"""The raw layouts of CHAOS, CT and MR: DICOM slices, and a PNG mask for each.

As in the public set, slices run from head to foot with the file name, and SliceThickness is
1.6 times the true step, which only ImagePositionPatient tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from evaluation.datasets.phantoms.canvas import Phantom
from evaluation.datasets.phantoms.layouts import Pose, label_map, oriented, whole_numbers
from evaluation.datasets.phantoms.shapes import Triple

HU_OFFSET = 1000
MR_GREY = {"liver": 63, "kidney_right": 126, "kidney_left": 189, "spleen": 252}
# LPS: columns run to the patient's left, rows to the back; the top slice comes first.
_POSE = Pose("LPI")


def write_chaos_ct(folder: Path, case: str, phantom: Phantom, uid_seed: str) -> list[Path]:
    """`<id>/DICOM_anon/*.dcm` and `<id>/Ground/liver_GT_NNN.png`."""
    subject = folder / case
    pixels = (whole_numbers(phantom).astype(np.int32) + HU_OFFSET).clip(0, 4095)
    _write_series(subject / "DICOM_anon", pixels, phantom, "CT", case, uid_seed)
    liver = phantom.mask("liver").astype(np.uint8) * 255
    _write_masks(subject / "Ground", "liver_GT_{:03d}.png", liver, phantom)
    return [subject]


def write_chaos_mr(
    folder: Path, case: str, in_phase: Phantom, out_of_phase: Phantom, t2: Phantom, uid_seed: str
) -> list[Path]:
    """`<id>/T1DUAL/DICOM_anon/{InPhase,OutPhase}`, `<id>/T2SPIR/DICOM_anon`, masks in `Ground`.

    The three show one anatomy on one grid; both phases of T1 share the masks.
    """
    subject = folder / case
    for place, phantom in (
        ("T1DUAL/DICOM_anon/InPhase", in_phase),
        ("T1DUAL/DICOM_anon/OutPhase", out_of_phase),
        ("T2SPIR/DICOM_anon", t2),
    ):
        pixels = np.rint(phantom.image).astype(np.int32).clip(0, 4095)
        _write_series(subject / place, pixels, phantom, "MR", case, f"{uid_seed}-{place}")
    for sequence, phantom in (("T1DUAL", in_phase), ("T2SPIR", t2)):
        grey = label_map(phantom, MR_GREY)
        _write_masks(subject / sequence / "Ground", "IMG-{:04d}.png", grey, phantom)
    return [subject]


def _write_series(
    folder: Path,
    pixels: NDArray[np.int32],
    phantom: Phantom,
    modality: str,
    case: str,
    uid_seed: str,
) -> None:
    """The slices of `pixels` (x, y, z, 0 to 4095) as DICOM files."""
    folder.mkdir(parents=True)
    stored = oriented(pixels.astype(np.uint16), phantom, _POSE)
    series = {
        "StudyInstanceUID": generate_uid(entropy_srcs=[uid_seed, "study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[uid_seed, "series"]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[uid_seed, "frame"]),
    }
    for k in range(stored.array.shape[2]):
        position = (stored.affine @ [0, 0, k, 1])[:3] * (-1, -1, 1)
        plane = stored.array[:, :, k].T
        dataset = _slice(
            plane, position, phantom.spacing_mm, k, modality, case, f"{uid_seed}-{k}", series
        )
        dataset.save_as(folder / f"i{k:04d},0000b.dcm", enforce_file_format=True)


def _write_masks(folder: Path, name: str, grey: NDArray[np.uint8], phantom: Phantom) -> None:
    """A PNG for each slice, in the order of the DICOM files."""
    folder.mkdir(parents=True)
    stored = oriented(grey, phantom, _POSE).array
    for k in range(stored.shape[2]):
        mask = sitk.GetImageFromArray(np.ascontiguousarray(stored[:, :, k].T))
        sitk.WriteImage(mask, str(folder / name.format(k)))


def _slice(
    pixels: NDArray[np.uint16],
    position: NDArray[np.float64],
    spacing_mm: Triple,
    k: int,
    modality: str,
    case: str,
    uid_seed: str,
    series: Mapping[str, str],
) -> FileDataset:
    """One image of the modality (CT or MR); `pixels` are (row, column), `position` is LPS mm."""
    uid = generate_uid(entropy_srcs=[uid_seed, "instance"])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    d.SpecificCharacterSet = "ISO_IR 100"
    d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.SOPClassUID = CTImageStorage
    d.SOPInstanceUID = uid
    d.Modality = "CT"
    d.PatientName = f"PHANTOM^CT_SET_{case}"
    d.PatientID = case
    d.PatientBirthDate = d.PatientSex = d.StudyDate = d.StudyTime = ""
    d.AccessionNumber = d.ReferringPhysicianName = d.Manufacturer = ""
    d.PatientPosition = "FFS"
    d.SliceThickness = f"{spacing_mm[2] * 1.6:.1f}"
    for keyword, value in series.items():
        setattr(d, keyword, value)
    d.StudyID = case
    d.SeriesNumber = 1
    d.AcquisitionNumber = 1
    d.InstanceNumber = k + 1
    d.PositionReferenceIndicator = ""
    d.ImagePositionPatient = [f"{value:.5f}" for value in position]
    d.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    d.SamplesPerPixel = 1
    d.PhotometricInterpretation = "MONOCHROME2"
    d.Rows, d.Columns = pixels.shape
    d.PixelSpacing = [f"{spacing_mm[1]:.5f}", f"{spacing_mm[0]:.5f}"]
    d.BitsAllocated = d.BitsStored = 16
    d.HighBit = 15
    d.PixelRepresentation = 0
    if modality == "CT":
        d.KVP = "120"
        d.RescaleIntercept = str(-HU_OFFSET)
        d.RescaleSlope = "1"
        d.RescaleType = "HU"
        d.WindowCenter, d.WindowWidth = "50", "400"
    d.PixelData = np.ascontiguousarray(pixels).tobytes()
    return d
