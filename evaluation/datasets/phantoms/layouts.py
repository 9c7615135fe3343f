"""The raw layouts of five public datasets, as their downloads unpack.

Each writer gets a folder that stands for the dataset's own and writes one patient's files below
it, at the paths that the public dataset has. Writers know nothing of resuming: `cohort` lets
them write into a temporary folder and moves the files in the order that the writers give.
Identical input gives identical bytes.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from evaluation.datasets.phantoms.canvas import Phantom
from evaluation.datasets.phantoms.shapes import Triple, rotation_of
from evaluation.datasets.phantoms.structures import V1_STRUCTURES
from evaluation.volumes.image_files import Affine, Array, Volume, to_itk

HU_OFFSET = 1000


@dataclass(frozen=True)
class Pose:
    """How a scanner stores the volume: axis directions, and an oblique turn in degrees."""

    orientation: str = "RAS"
    oblique: Triple = (0.0, 0.0, 0.0)


def affine_of(phantom: Phantom, oblique: Triple = (0.0, 0.0, 0.0)) -> Affine:
    """Index to RAS mm; the turn keeps the phantom's own origin fixed."""
    affine = np.eye(4)
    turn = rotation_of(oblique)
    affine[:3, :3] = turn * np.array(phantom.spacing_mm)
    affine[:3, 3] = turn @ np.array(phantom.origin_mm)
    return affine


def oriented(array: Array, phantom: Phantom, pose: Pose) -> Volume:
    """The array (x, y, z) of a phantom as the scanner of `pose` would have stored it."""
    affine = affine_of(phantom, pose.oblique)
    start = nib.orientations.io_orientation(affine)
    end = nib.orientations.axcodes2ornt(tuple(pose.orientation))
    change = nib.orientations.ornt_transform(start, end)
    turned = nib.orientations.apply_orientation(array, change)
    stored = affine @ nib.orientations.inv_ornt_aff(change, array.shape)
    return Volume(np.ascontiguousarray(turned), np.asarray(stored, dtype=np.float64))


def hounsfield(phantom: Phantom) -> NDArray[np.int16]:
    """The image in whole HU (x, y, z)."""
    return np.rint(phantom.image).astype(np.int16)


def write_totalsegmentator(folder: Path, case: str, phantom: Phantom, pose: Pose) -> list[Path]:
    """`sNNNN/ct.nii.gz` and all 104 masks of release 1, empty where nothing is in view."""
    subject = folder / case
    write_nifti(subject / "ct.nii.gz", oriented(hounsfield(phantom), phantom, pose))
    labels = oriented(phantom.labels, phantom, pose)
    empty = _nifti_bytes(Volume(np.zeros_like(labels.array), labels.affine))
    present = set(np.unique(labels.array).tolist())
    (subject / "segmentations").mkdir()
    for name in V1_STRUCTURES:
        path = subject / "segmentations" / f"{name}.nii.gz"
        value = phantom.values.get(name)
        if value not in present:
            path.write_bytes(empty)
            continue
        mask = (labels.array == value).astype(np.uint8)
        path.write_bytes(_nifti_bytes(Volume(mask, labels.affine)))
    return [subject]


def write_decathlon(
    folder: Path, case: str, phantom: Phantom, pose: Pose, values: Mapping[str, int]
) -> list[Path]:
    """`imagesTr/<case>.nii.gz` and `labelsTr/<case>.nii.gz` with the given label values."""
    label = folder / "labelsTr" / f"{case}.nii.gz"
    image = folder / "imagesTr" / f"{case}.nii.gz"
    write_nifti(label, oriented(label_map(phantom, values), phantom, pose))
    write_nifti(image, oriented(hounsfield(phantom).astype(np.float32), phantom, pose))
    return [label, image]


def decathlon_json(title: str, modality: str, names: Mapping[str, int], cases: list[str]) -> Any:
    """Content of a Decathlon task's `dataset.json`."""
    return {
        "name": title,
        "description": "virtual patients in the layout of the Medical Segmentation Decathlon",
        "tensorImageSize": "3D",
        "modality": {"0": modality},
        "labels": {"0": "background", **{str(value): name for name, value in names.items()}},
        "numTraining": len(cases),
        "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
            for case in cases
        ],
        "test": [],
    }


def write_acdc_frame(
    folder: Path, patient: str, frame: int, phantom: Phantom, pose: Pose, values: Mapping[str, int]
) -> None:
    """`patientNNN_frameFF.nii.gz` and its `_gt`, in the patient's folder."""
    stem = folder / patient / f"{patient}_frame{frame:02d}"
    image = np.rint(phantom.image).astype(np.int16)
    write_nifti(stem.with_name(f"{stem.name}.nii.gz"), oriented(image, phantom, pose))
    labels = label_map(phantom, values)
    write_nifti(stem.with_name(f"{stem.name}_gt.nii.gz"), oriented(labels, phantom, pose))


def acdc_info(relaxed: int, contracted: int) -> str:
    """Content of a patient's `Info.cfg`."""
    return (
        f"ED: {relaxed}\nES: {contracted}\nGroup: NOR\nHeight: 175.0\nNbFrame: 30\nWeight: 75.0\n"
    )


def write_promise12(folder: Path, case: str, phantom: Phantom, pose: Pose) -> list[Path]:
    """`CaseNN.mhd` + `.raw` and `CaseNN_segmentation.mhd` + `.raw`, uncompressed."""
    folder.mkdir(parents=True, exist_ok=True)
    image = oriented(np.rint(phantom.image).astype(np.int16), phantom, pose)
    mask = oriented(label_map(phantom, {"prostate": 1}), phantom, pose)
    written = []
    for stem, volume in ((f"{case}_segmentation", mask), (case, image)):
        sitk.WriteImage(to_itk(volume), str(folder / f"{stem}.mhd"), useCompression=False)
        written += [folder / f"{stem}.raw", folder / f"{stem}.mhd"]
    return written


def write_chaos_ct(folder: Path, case: str, phantom: Phantom, uid_seed: str) -> list[Path]:
    """`<id>/DICOM_anon/*.dcm` and `<id>/Ground/liver_GT_NNN.png`.

    As in the public set: slices run from head to foot with the file name, and SliceThickness is
    1.6 times the true step, which only ImagePositionPatient tells.
    """
    subject = folder / case
    (subject / "DICOM_anon").mkdir(parents=True)
    (subject / "Ground").mkdir()
    # LPS: columns run to the patient's left, rows to the back; the top slice comes first.
    stored = oriented(hounsfield(phantom), phantom, Pose("LPI"))
    liver = oriented(phantom.mask("liver").astype(np.uint8) * 255, phantom, Pose("LPI")).array
    pixels = (stored.array.astype(np.int32) + HU_OFFSET).clip(0, 4095).astype(np.uint16)
    series = {
        "StudyInstanceUID": generate_uid(entropy_srcs=[uid_seed, "study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[uid_seed, "series"]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[uid_seed, "frame"]),
    }
    for k in range(pixels.shape[2]):
        position = (stored.affine @ [0, 0, k, 1])[:3] * (-1, -1, 1)
        dataset = _ct_slice(
            pixels[:, :, k].T, position, phantom.spacing_mm, k, case, f"{uid_seed}-{k}", series
        )
        dataset.save_as(subject / "DICOM_anon" / f"i{k:04d},0000b.dcm", enforce_file_format=True)
        mask = sitk.GetImageFromArray(np.ascontiguousarray(liver[:, :, k].T))
        sitk.WriteImage(mask, str(subject / "Ground" / f"liver_GT_{k:03d}.png"))
    return [subject]


def _ct_slice(
    pixels: NDArray[np.uint16],
    position: NDArray[np.float64],
    spacing_mm: Triple,
    k: int,
    case: str,
    uid_seed: str,
    series: Mapping[str, str],
) -> FileDataset:
    """One CT Image Storage object; `pixels` are (row, column), `position` is LPS mm."""
    uid = generate_uid(entropy_srcs=[uid_seed, "instance"])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
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
    d.KVP = "120"
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
    d.RescaleIntercept = str(-HU_OFFSET)
    d.RescaleSlope = "1"
    d.RescaleType = "HU"
    d.WindowCenter, d.WindowWidth = "50", "400"
    d.PixelData = np.ascontiguousarray(pixels).tobytes()
    return d


def label_map(phantom: Phantom, values: Mapping[str, int]) -> NDArray[np.uint8]:
    """The phantom's labels (x, y, z) with a dataset's own values; other structures become 0."""
    table = np.zeros(256, dtype=np.uint8)
    for name, value in values.items():
        if name in phantom.values:
            table[phantom.values[name]] = value
    return table[phantom.labels]


def write_nifti(path: Path, volume: Volume) -> None:
    """Write gzipped NIfTI whose bytes depend on the volume alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_nifti_bytes(volume))


def _nifti_bytes(volume: Volume) -> bytes:
    # gzip stores the time of writing unless told otherwise.
    image: Any = nib.Nifti1Image(volume.array, volume.affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
