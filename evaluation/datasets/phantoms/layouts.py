"""The raw layouts of public datasets in NIfTI and MetaImage, as their downloads unpack.

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

from evaluation.datasets.phantoms.canvas import Phantom
from evaluation.datasets.phantoms.shapes import Triple, rotation_of
from evaluation.datasets.phantoms.structures import V1_STRUCTURES
from evaluation.volumes.image_files import Affine, Array, Volume, to_itk


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


def whole_numbers(phantom: Phantom) -> NDArray[np.int16]:
    """The image (x, y, z) rounded: whole HU of CT."""
    return np.rint(phantom.image).astype(np.int16)


def write_totalsegmentator(folder: Path, case: str, phantom: Phantom, pose: Pose) -> list[Path]:
    """`sNNNN/ct.nii.gz` and all 104 masks of release 1, empty where nothing is in view."""
    subject = folder / case
    write_nifti(subject / "ct.nii.gz", oriented(whole_numbers(phantom), phantom, pose))
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


def write_pair(
    image: Path, label: Path, phantom: Phantom, pose: Pose, values: Mapping[str, int]
) -> list[Path]:
    """An image and a label map with the given values, in NIfTI with or without gzip."""
    write_nifti(label, oriented(label_map(phantom, values), phantom, pose))
    write_nifti(image, oriented(whole_numbers(phantom), phantom, pose))
    return [label, image]


def write_decathlon(
    folder: Path, case: str, phantom: Phantom, pose: Pose, values: Mapping[str, int]
) -> list[Path]:
    """`imagesTr/<case>.nii.gz` and `labelsTr/<case>.nii.gz` with the given label values."""
    label = folder / "labelsTr" / f"{case}.nii.gz"
    image = folder / "imagesTr" / f"{case}.nii.gz"
    write_nifti(label, oriented(label_map(phantom, values), phantom, pose))
    write_nifti(image, oriented(whole_numbers(phantom).astype(np.float32), phantom, pose))
    return [label, image]


def write_mnms(
    folder: Path, case: str, frames: list[Phantom], pose: Pose, values: Mapping[str, int]
) -> list[Path]:
    """`CODE/CODE_sa.nii.gz` and its `_gt`, both (x, y, z, t).

    The first frame is relaxed and the last contracted, which alone have labels; between them lies
    a frame that is the mean of both.
    """
    relaxed, contracted = frames
    images = [whole_numbers(frame) for frame in frames]
    middle = np.rint((relaxed.image + contracted.image) / 2).astype(np.int16)
    labels = [label_map(frame, values) for frame in frames]
    series = ("", [images[0], middle, images[1]]), ("_gt", [labels[0], 0 * labels[0], labels[1]])
    for suffix, arrays in series:
        volumes = [oriented(array, relaxed, pose) for array in arrays]
        joined = np.stack([volume.array for volume in volumes], axis=-1)
        path = folder / case / f"{case}_sa{suffix}.nii.gz"
        write_nifti(path, Volume(joined, volumes[0].affine))
    return [folder / case]


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
    image = oriented(whole_numbers(phantom), phantom, pose)
    write_nifti(stem.with_name(f"{stem.name}.nii.gz"), image)
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
    image = oriented(whole_numbers(phantom), phantom, pose)
    mask = oriented(label_map(phantom, {"prostate": 1}), phantom, pose)
    written = []
    for stem, volume in ((f"{case}_segmentation", mask), (case, image)):
        sitk.WriteImage(to_itk(volume), str(folder / f"{stem}.mhd"), useCompression=False)
        written += [folder / f"{stem}.raw", folder / f"{stem}.mhd"]
    return written


def write_autopet(folder: Path, patient: str, study: str, phantom: Phantom) -> list[Path]:
    """`PETCT_<hash>/<study>/SUV.nii.gz` and `SEG.nii.gz` (1 = lesion)."""
    home = folder / patient / study
    image = np.round(phantom.image, 3).astype(np.float32)
    write_nifti(home / "SUV.nii.gz", oriented(image, phantom, Pose("LPS")))
    labels = phantom.mask("lesion").astype(np.uint8)
    write_nifti(home / "SEG.nii.gz", oriented(labels, phantom, Pose("LPS")))
    return [folder / patient]


def label_map(phantom: Phantom, values: Mapping[str, int]) -> NDArray[np.uint8]:
    """The phantom's labels (x, y, z) with a dataset's own values; other structures become 0."""
    table = np.zeros(256, dtype=np.uint8)
    for name, value in values.items():
        if name in phantom.values:
            table[phantom.values[name]] = value
    return table[phantom.labels]


def write_nifti(path: Path, volume: Volume) -> None:
    """Write NIfTI (gzipped by its name) whose bytes depend on the volume alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_nifti_bytes(volume, packed=path.suffix == ".gz"))


def _nifti_bytes(volume: Volume, *, packed: bool = True) -> bytes:
    # gzip stores the time of writing unless told otherwise.
    image: Any = nib.Nifti1Image(volume.array, volume.affine)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return gzip.compress(content, compresslevel=1, mtime=0) if packed else content
