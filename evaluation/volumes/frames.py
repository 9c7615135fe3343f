"""Parts along the fourth axis of a NIfTI file: channels, frames in time, one rater each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from evaluation.errors import BenchError
from evaluation.volumes.geometry import nifti_affine
from evaluation.volumes.image_files import Volume, checked_geometry


def count_frames(path: Path) -> int:
    """Length of the fourth axis by the header; 0: there is no such axis.

    Raises:
        BenchError: the file is missing, or no readable NIfTI file.
    """
    return _fourth(_opened(path))


def read_frame(path: Path, frame: int) -> Volume:
    """One part along the fourth axis as a 3D volume; integers keep their type.

    Args:
        path: the file.
        frame: which part, from 0.

    Raises:
        BenchError: the file is missing or unreadable, or has no such part.
    """
    image = _opened(path)
    if frame >= _fourth(image):
        raise BenchError(
            "volume has no such part along a fourth axis",
            file=path,
            found=f"shape {tuple(image.shape)}",
            expected=f"four axes, the last of at least {frame + 1}",
        )
    try:
        array = np.asarray(image.dataobj[..., frame])
    except Exception as error:
        raise _unreadable(path, error) from error
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    # Compiled code takes no other byte order than the machine's.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return checked_geometry(Volume(array, *nifti_affine(image.header, path)), path)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise BenchError("volume not found", file=path, hint="check the path and the download")
    try:
        return nib.load(path)
    except Exception as error:
        raise _unreadable(path, error) from error


def _fourth(image: Any) -> int:
    return int(image.shape[3]) if len(image.shape) == 4 else 0


def _unreadable(path: Path, error: Exception) -> BenchError:
    return BenchError(
        "volume cannot be read; it is truncated or corrupt",
        file=path,
        found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        expected="NIfTI",
        hint="download or write the file again",
    )
