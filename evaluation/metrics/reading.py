"""Read label maps: integers, checked, as fast as the file allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evaluation.errors import BenchError
from evaluation.volumes.frames import read_frame
from evaluation.volumes.image_files import Array, Volume, read_volume
from evaluation.volumes.inflate import Arena

ROUNDING = 1e-3


def read_labels(path: Path, arena: Arena | None = None, frame: int | None = None) -> Volume:
    """Read a label map or a mask as integers.

    Floating-point files are accepted where every voxel lies within 1e-3 of a whole number: a
    plain cast would turn 0.9 into 0 and NaN into anything.

    Args:
        path: NIfTI, NRRD or MetaImage.
        arena: memory to read into; the next file read into it overwrites this one's voxels.
        frame: which part along the fourth axis of a NIfTI file; None: the file is 3D.

    Raises:
        BenchError: the file cannot be read, is not 3D, holds NaN, infinity or numbers that are
            not whole, or labels beyond 16 bits.
    """
    volume = read_volume(path, arena) if frame is None else read_frame(path, frame)
    return Volume(as_labels(volume.array, "label map", path), volume.affine)


def as_labels(array: Array, what: str, file: Path | None = None) -> Array:
    """Whole numbers of at most 16 bits from an array of any type.

    Args:
        array: voxels.
        what: names it in a message, such as `label map`.
        file: where it comes from, if it is a file.

    Raises:
        BenchError: NaN, infinity, numbers that are not whole, or labels beyond 16 bits.
    """
    if array.dtype == bool:
        return array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        array = _whole_numbers(array, what, file)
    if array.dtype.itemsize > 2 or not np.issubdtype(array.dtype, np.integer):
        array = _narrow(array, file)
    return array


def _narrow(array: Array, file: Path | None) -> Array:
    """Whole numbers in the first of uint8, uint16 and int16 that holds them."""
    low, high = array.min(), array.max()
    for kind in (np.uint8, np.uint16, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    raise BenchError(
        "label values do not fit into 16 bits",
        file=file,
        found=f"{low:g} to {high:g}",
        expected="0 to 65535, or -32768 to 32767",
        hint="renumber the labels",
    )


def _whole_numbers(array: Array, what: str, file: Path | None) -> Array:
    if not np.issubdtype(array.dtype, np.floating):
        raise BenchError("voxels are not numbers", file=file, found=array.dtype)
    bad = int(np.size(array) - np.isfinite(array).sum())
    if bad:
        raise BenchError(
            f"{what} holds {bad} voxels that are NaN or infinite",
            file=file,
            expected="whole numbers",
            hint="set them to the background's value",
        )
    rounded = np.rint(array)
    away = np.abs(array - rounded) > ROUNDING
    if away.any():
        raise BenchError(
            f"{what} holds {int(away.sum())} voxels that are not whole numbers",
            file=file,
            found=f"for example {float(array[away][0]):g}",
            expected="whole numbers",
            hint="is it a probability map, or was it resampled with interpolation?",
        )
    return rounded
