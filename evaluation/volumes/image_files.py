"""Volumes on disk: read and write with geometry, in one convention.

Arrays are indexed (x, y, z) as nibabel has them, the affine maps an index to RAS millimetres.
NIfTI is read by nibabel; NRRD, MetaImage and DICOM series by SimpleITK, whose LPS geometry is
turned into an RAS affine here.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import SimpleITK as sitk
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path, is_hidden
from evaluation.volumes.geometry import nifti_affine, refuse_shear, unit_in_mm
from evaluation.volumes.headers import (
    read_text_header,
    refuse_broken_zlib,
    refuse_foreign_voxels,
)
from evaluation.volumes.inflate import Arena, beginning, inflate

Array = NDArray[Any]
Affine = NDArray[np.float64]

# The longer of two endings comes first.
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mhd")
GEOMETRY_TOLERANCE_MM = 1e-3
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A 3D array (x, y, z) and its affine (4, 4) from index to RAS millimetres.

    `remark` says in one sentence where the file's geometry had to be decided by a rule
    (`evaluation.volumes.geometry`).
    """

    array: Array
    affine: Affine
    remark: str = ""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z in mm, rounded to 1e-5."""
        return spacing_of(self.affine)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Column norms of the affine in mm, rounded to 1e-5.

    Headers in float32 store 1 mm as 0.99999994 mm; at a tolerance of exactly one voxel such
    noise moves NSD by several points, hence the rounding.
    """
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).round(5).tolist()
    return x, y, z


def has_volume_suffix(path: Path) -> bool:
    """Whether the name looks like a volume that `read_volume` knows."""
    return path.name.lower().endswith(VOLUME_SUFFIXES) and not is_hidden(path.name)


def stem_of(path: Path) -> str:
    """The file name without its volume suffix (`.nii.gz` counts as one)."""
    lower = path.name.lower()
    for suffix in (*VOLUME_SUFFIXES, ".dcm"):
        if lower.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def read_volume(path: Path, arena: Arena | None = None) -> Volume:
    """Read a 3D volume in its stored data type.

    Integer files without a scale factor keep their type; others become float32. A 2D image is a
    volume of one slice.

    Args:
        path: the file.
        arena: memory for a compressed NIfTI file, for callers that read one volume after
            another: the next file read into it overwrites this one's voxels.

    Raises:
        BenchError: the file is missing, unreadable, truncated, not three-dimensional, holds no
            real numbers, or would unpack to more than the memory that is free.
    """
    if not path.is_file():
        raise BenchError("volume not found", file=path, hint="check the path and the download")
    try:
        is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
        volume = _read_nifti(path, arena) if is_nifti else _read_itk(path)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(
            "volume cannot be read; it is truncated or corrupt",
            file=path,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="download or write the file again",
        ) from error
    if volume.array.ndim != 3 or 0 in volume.array.shape:
        raise BenchError(
            "volume is not three-dimensional",
            file=path,
            found=f"shape {volume.array.shape}",
            expected="three axes, each of at least one voxel",
        )
    return checked_geometry(volume, path)


def checked_geometry(volume: Volume, path: Path) -> Volume:
    """The volume, if its axes are perpendicular and its voxels have a size.

    Raises:
        BenchError: they are or have not.
    """
    affine = volume.affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise BenchError("volume has no usable geometry", file=path, found=affine.tolist())
    refuse_shear(affine, path)
    return volume


def read_grid(path: Path) -> Volume:
    """The grid of a NIfTI file: a volume of zeros that takes no memory. Voxels are not read.

    Raises:
        BenchError: the file is missing or has no usable header.
    """
    try:
        image: Any = nib.load(path)
    except Exception as error:
        raise BenchError("volume cannot be read", file=path, found=error) from error
    empty = np.broadcast_to(np.uint8(0), image.shape[:3])
    return Volume(empty, *nifti_affine(image.header, path))


def geometry_remark(path: Path) -> str:
    """How a file's geometry was decided, where its header says two things; "" where it does not.

    Reads the header only.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return read_grid(path).remark
    header = read_text_header(path)
    return _unit_remark(unit_in_mm(header.unit, path)) if header else ""


def _unit_remark(factor: float) -> str:
    return "" if factor == 1 else f"a unit of the header is {factor:g} mm"


def _read_nifti(path: Path, arena: Arena | None = None) -> Volume:
    packed = path.name.lower().endswith(".gz")
    image: Any = _unpacked_nifti(path, arena) if packed else nib.load(path)
    kind = image.get_data_dtype()
    if not packed:
        require_memory(path, prod(map(int, image.shape)) * kind.itemsize)
    if kind.kind not in "biuf":
        raise BenchError(
            "voxels are not real numbers", file=path, found=kind, expected="one number each"
        )
    # Not the header's: nibabel forgets there what it keeps in the array's proxy.
    scaled = (getattr(image.dataobj, "slope", 1.0), getattr(image.dataobj, "inter", 0.0)) != (1, 0)
    if np.issubdtype(kind, np.integer) and not scaled:
        array = np.asanyarray(image.dataobj)
    else:
        array = image.get_fdata(dtype=np.float32, caching="unchanged")
    # Compiled code takes no other byte order than the machine's.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim > 3 and all(n == 1 for n in array.shape[3:]):
        array = array.reshape(array.shape[:3])
    if array.ndim == 2:
        array = array[..., np.newaxis]
    return Volume(np.asarray(array), *nifti_affine(image.header, path))


def _unpacked_nifti(path: Path, arena: Arena | None) -> Any:
    """The image of a compressed file; its array is a view of the unpacked bytes if it can be."""
    start = beginning(path)
    image: Any = nib.Nifti1Image
    if 540 in (int.from_bytes(start[:4], order) for order in ("little", "big")):
        image = nib.Nifti2Image
    kind: Any = image.header_class
    length = kind.template_dtype.itemsize
    if len(start) < length:
        raise EOFError(f"{len(start)} bytes are in it, less than a header")
    header = kind(start[:length])
    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    size = int(header.get_data_offset()) + prod(shape) * dtype.itemsize
    require_memory(path, size)
    # Some programs leave a little behind the voxels; a file that goes on for ever is refused.
    content = inflate(path, arena, most=2 * size + (1 << 20))
    head = image.from_stream(BytesIO(content[: max(1 << 20, int(header.get_data_offset()))].data))
    proxy = head.dataobj
    if not dtype.isnative or (proxy.slope, proxy.inter) != (1, 0):
        return image.from_stream(BytesIO(content.data))
    data = np.ndarray(shape, dtype, buffer=content, offset=int(proxy.offset), order="F")
    return image(data, head.affine, head.header)


def require_memory(path: Path, size: int) -> None:
    """Raise a BenchError if so many bytes are not free: the system would kill the process."""
    free = psutil.virtual_memory().available
    if size > free:
        raise BenchError(
            "volume does not fit into memory",
            file=path,
            found=f"{size / 1e9:.1f} GB of voxels by its header",
            expected=f"at most the {free / 1e9:.1f} GB that are free",
            hint="check the header; a scan of this size needs a larger machine or fewer jobs",
        )


def _read_itk(path: Path) -> Volume:
    header = read_text_header(path)
    refuse_foreign_voxels(path, header)
    reader = itk_reader(path)
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    # One point in time is a volume.
    alone = len(size) == 4 and size[3] == 1
    if not (len(size) in (2, 3) or alone) or components != 1:
        raise BenchError(
            "volume is not three-dimensional",
            file=path,
            found=f"shape {size}, {components} numbers in each voxel",
            expected="three axes and one number in each voxel",
        )
    bytes_each = sitk.GetArrayViewFromImage(sitk.Image([1, 1], reader.GetPixelID())).itemsize
    require_memory(path, prod(size) * bytes_each)
    refuse_broken_zlib(path, header, prod(size) * bytes_each)
    if alone:
        reader.SetExtractSize([*size[:3], 0])
    image = reader.Execute()
    volume = from_itk(sitk.JoinSeries([image]) if len(size) == 2 else image)
    # ITK reads the numbers and leaves their unit alone.
    factor = unit_in_mm(header.unit, path) if header else 1.0
    if factor == 1:
        return volume
    scaled = np.diag([factor, factor, factor, 1.0]) @ volume.affine
    return Volume(volume.array, scaled, _unit_remark(factor))


def itk_reader(path: Path) -> Any:
    """A reader that has read the header of a MetaImage or NRRD file; its ending may be in capitals.

    Raises:
        RuntimeError: it is no such file.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def from_itk(image: Any) -> Volume:
    """A `Volume` from a SimpleITK image: (x, y, z) order and an RAS affine."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ affine)


def to_itk(volume: Volume) -> Any:
    """The SimpleITK image (LPS) of a `Volume`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.transpose(2, 1, 0)))
    affine = LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def write_volume(path: Path, volume: Volume) -> None:
    """Write atomically; the suffix of `path` names the format (NIfTI by nibabel)."""
    with atomic_path(path) as temporary:
        if path.name.endswith((".nii", ".nii.gz")):
            image: Any = nib.Nifti1Image(volume.array, volume.affine)
            image.header.set_xyzt_units("mm")
            nib.save(image, temporary)
        else:
            sitk.WriteImage(to_itk(volume), str(temporary), useCompression=True)


def to_ras(volume: Volume) -> Volume:
    """Flip and permute axes to the closest RAS orientation; no voxel is interpolated."""
    image: Any = nib.as_closest_canonical(
        nib.Nifti1Image(volume.array, volume.affine, dtype=volume.array.dtype)
    )
    affine = np.asarray(image.affine, dtype=np.float64)
    return Volume(np.asanyarray(image.dataobj), affine, volume.remark)


def from_ras(volume: Volume, orientation: str) -> Volume:
    """Undo `to_ras`: flip and permute axes to an orientation such as `LPS`; nothing is moved."""
    ras, stored = (nib.orientations.axcodes2ornt(code) for code in ("RAS", orientation))
    change = nib.orientations.ornt_transform(ras, stored)
    array = np.ascontiguousarray(nib.orientations.apply_orientation(volume.array, change))
    affine = volume.affine @ nib.orientations.inv_ornt_aff(change, volume.array.shape)
    return Volume(array, affine, volume.remark)


def orientation_of(affine: Affine) -> str:
    """Axis codes such as `RAS` or `LPS`."""
    return "".join(str(code) for code in nib.aff2axcodes(affine))


def same_grid(a: Volume, b: Volume, tolerance_mm: float = GEOMETRY_TOLERANCE_MM) -> str | None:
    """None if both volumes lie on one grid, otherwise one sentence that says how they differ.

    Compared are shape and the positions of all eight corner voxels, so spacing, origin and
    direction are all covered by one tolerance in millimetres.
    """
    if a.array.shape != b.array.shape:
        return f"shape {b.array.shape} instead of {a.array.shape}"
    corners = np.array(
        [[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64
    )
    corners[:, :3] *= np.array(a.array.shape) - 1
    shift_mm = float(np.abs(corners @ (a.affine - b.affine).T)[:, :3].max())
    if shift_mm > tolerance_mm:
        return (
            f"spacing {b.spacing_mm} and orientation {orientation_of(b.affine)} instead of "
            f"{a.spacing_mm} and {orientation_of(a.affine)}: corners differ by {shift_mm:.4g} mm"
        )
    return None
