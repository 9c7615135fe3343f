"""Small scans written in raw layouts, without the project's own writers.

Every voxel of the image holds a number of its own, so that a test can say where in millimetres
each voxel must be found again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

SHAPE = (12, 10, 9)
SPACING = (0.8, 1.1, 3.0)
ORIENTATIONS = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1), "LAS": (-1, 1, 1), "RPI": (1, -1, -1)}


@dataclass
class Phantom:
    """An image of running numbers, a label map, and the affine (RAS mm) of both."""

    orientation: str = "LPS"
    values: tuple[int, ...] = (1,)
    affine: np.ndarray = field(init=False)
    image: np.ndarray = field(init=False)
    labels: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        signs = np.array(ORIENTATIONS[self.orientation], dtype=float)
        self.affine = np.diag([*(signs * SPACING), 1.0])
        self.affine[:3, 3] = [31.0, -47.0, 112.0]
        self.image = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        self.labels = np.zeros(SHAPE, dtype=np.uint8)
        # Three voxels for each value, scattered, none of them symmetric to another.
        flat = self.labels.reshape(-1)
        for index, value in enumerate(self.values):
            flat[[7 + 3 * index, 400 + 5 * index, 1000 - 2 * index]] = value

    def positions(self, mask: np.ndarray) -> dict[tuple[float, ...], int]:
        """Millimetre position -> image number, for the voxels of a mask."""
        return positions(mask, self.image, self.affine)


def positions(
    mask: np.ndarray, image: np.ndarray, affine: np.ndarray
) -> dict[tuple[float, ...], int]:
    index = np.argwhere(mask)
    mm = (np.c_[index, np.ones(len(index))] @ affine.T)[:, :3].round(2)
    keys = [tuple(float(v) + 0.0 for v in row) for row in mm]
    return dict(zip(keys, image[mask].astype(int).tolist(), strict=True))


def write_image(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """NIfTI by nibabel, the ITK formats by SimpleITK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(array, affine), path)
        return
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0).copy())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression="seg-lungs" in str(path))


def write_dicom(folder: Path, array: np.ndarray, affine: np.ndarray, modality: str = "CT") -> None:
    """A series whose z descends with the file name and whose SliceThickness is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    series, frame = generate_uid(), generate_uid()
    n = array.shape[2]
    downwards = sorted(range(n), key=lambda k: -(lps[2, 2] * k))
    for number, k in enumerate(downwards):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID = meta.MediaStorageSOPClassUID
        item.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        item.Modality, item.SeriesInstanceUID, item.FrameOfReferenceUID = modality, series, frame
        item.ImageOrientationPatient = [
            round(float(v), 6) for v in (*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1]))
        ]
        item.ImagePositionPatient = [float(v) for v in lps[:3, 3] + k * lps[:3, 2]]
        item.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        item.SliceThickness = 7.5
        item.Rows, item.Columns = array.shape[1], array.shape[0]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation = 15, 0
        item.RescaleSlope, item.RescaleIntercept = 1, -1000
        item.PixelData = (array[:, :, k].T.astype(np.int32) + 1000).astype(np.uint16).tobytes()
        pydicom.dcmwrite(folder / f"i{number:04d},0000b.dcm", item, enforce_file_format=True)


def write_png_masks(folder: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """One PNG for each slice, in the order of the DICOM file names."""
    folder.mkdir(parents=True, exist_ok=True)
    downwards = sorted(range(labels.shape[2]), key=lambda k: -(affine[2, 2] * k))
    for number, k in enumerate(downwards):
        image = sitk.GetImageFromArray(np.ascontiguousarray(labels[:, :, k].T))
        sitk.WriteImage(image, str(folder / f"liver_GT_{number:03d}.png"))


@pytest.fixture
def phantom() -> type[Phantom]:
    return Phantom


def sprinkle(root: Path) -> None:
    """Beside every file what editors, archives, file managers and killed writers leave there."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    for path in files:
        for name in (f".partial-7-{path.name}", f"{path.name}~", f"~{path.name}"):
            (path.parent / name).write_bytes(b"half")
        (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
        (path.parent / f"#{path.name}#").touch()
        hidden = path.parent / ".Trash" / path.name
        clutter = path.parent / "__MACOSX" / path.name
        for copy in (hidden, clutter):
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
    for folder in {path.parent for path in files}:
        for name in (".DS_Store", "Thumbs.db", ".lock"):
            (folder / name).touch()
        for name in (".partial-7-case", ".hidden"):
            shutil.copytree(folder, folder.parent / name / folder.name, dirs_exist_ok=True)


class RawFiles:
    """The writers above, as one object that tests get."""

    sprinkle = staticmethod(sprinkle)

    image = staticmethod(write_image)
    dicom = staticmethod(write_dicom)
    png_masks = staticmethod(write_png_masks)
    positions = staticmethod(positions)


@pytest.fixture
def raw_files() -> type[RawFiles]:
    return RawFiles
