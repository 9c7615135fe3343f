"""Raw volumes brought onto the grid of their image: checked in millimetres, never resampled."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from evaluation.datasets.readers.base import RawCase
from evaluation.datasets.readers.patterns import lies_in
from evaluation.errors import BenchError
from evaluation.volumes.frames import count_frames, read_frame
from evaluation.volumes.headers import companions
from evaluation.volumes.image_files import (
    GEOMETRY_TOLERANCE_MM,
    Affine,
    Array,
    Volume,
    read_volume,
    same_grid,
)

# Headers of an image and its mask are often written by different programs: differences of a
# twentieth of a voxel are rounding, larger ones are another grid.
GRID_TOLERANCE_VOXELS = 0.05


def refuse_faulty(raw: RawCase, files: Iterable[Path]) -> None:
    """Raise what discovery found wrong with a case, and refuse links to places nobody declared.

    Raises:
        BenchError: the case has a problem of its own, or a link leads nowhere or out of the
            dataset and of the places that `layout.linked_places` allows.
    """
    if raw.problem is not None:
        raise BenchError(
            raw.problem,
            file=raw.image[0] if raw.image else None,
            hint="remove or rename the file that does not belong there",
        )
    roots = [root.resolve() for root in raw.roots]
    roots += [place for place in raw.places if place not in roots]
    for file in files:
        target = file.resolve()
        if raw.roots and not any(target.is_relative_to(root) for root in roots):
            raise BenchError(
                "a link leads out of the dataset's folder; it is not followed",
                file=file,
                found=target,
                expected="a file under " + " or ".join(str(root) for root in roots),
                hint="copy the file into the dataset's folder, or declare the folder that it lies "
                "in by a link directly under the raw root (ln -s FOLDER RAW_ROOT)",
            )
        if file.is_symlink() and not target.exists():
            raise BenchError(
                "a link leads nowhere",
                file=file,
                found=target,
                expected="a file that is there",
                hint="fetch it (`git annex get`, `datalad get`), or mend the link",
            )


def read_raw(raw: RawCase, path: Path) -> Volume:
    """Read one volume of a case; the suffix may be in upper or lower case.

    Raises:
        BenchError: missing, corrupt, not 3D, or outside the dataset's folder.
    """
    files = companions(path)
    refuse_faulty(raw, files)
    for file in files[1:]:
        if not file.is_file():
            raise BenchError(
                "the voxels that a header names are missing",
                file=file,
                expected=f"the data file that {path.name} names",
                hint="download both files into one folder",
            )
    return read_volume(path)


def read_label(raw: RawCase, path: Path) -> Volume:
    """As `read_raw`, with a message of its own where the mask is missing."""
    if not path.is_file() and not path.is_symlink():
        raise BenchError(
            f"case `{raw.case}`: mask file is missing",
            file=path,
            found=lies_in(path.parent),
            expected="a mask beside the image " + str(raw.image[0]),
            hint="download the labels again, or name the case under `exclude` in the card",
        )
    return read_raw(raw, path)


def read_channel(raw: RawCase, path: Path, channel: int, n_channels: int) -> Volume:
    """One channel of a 4D NIfTI file as a 3D volume; integers keep their type."""
    refuse_faulty(raw, (path,))
    there = count_frames(path)
    if there != n_channels:
        raise BenchError(
            f"case `{raw.case}`: image has not the channels that the card names",
            file=path,
            found=f"{there} channels" if there else "no fourth axis",
            expected=f"four axes, the last of {n_channels}",
            hint="correct `channels` under reader_args in the card",
        )
    return read_frame(path, channel)


def with_spacing(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """The volume with another spacing along its stored axes; directions and origin stay.

    The remark says what the header had.
    """
    affine = volume.affine.copy()
    affine[:3, :3] *= np.array(spacing_mm) / np.linalg.norm(affine[:3, :3], axis=0)
    had, has = ("x".join(f"{mm:.5g}" for mm in s) for s in (volume.spacing_mm, spacing_mm))
    remark = f"the header's spacing is {had} mm, which its card corrects to {has} mm"
    return Volume(volume.array, affine, "; ".join(filter(None, (volume.remark, remark))))


def match_axes(volume: Volume, affine: Affine) -> Volume:
    """Flip and permute axes to the orientation of `affine`; no voxel is interpolated."""
    axes: Any = nib.orientations
    change = axes.ornt_transform(axes.io_orientation(volume.affine), axes.io_orientation(affine))
    array: Array = axes.apply_orientation(volume.array, change)
    return Volume(array, volume.affine @ axes.inv_ornt_aff(change, volume.array.shape))


def on_image_grid(image: Volume, label: Volume, file: Path, image_file: Path) -> Array:
    """The label's array in the axes of the image, if both lie on one grid.

    A label that is stored in another orientation but whose voxels lie at the same places is
    re-ordered.

    Raises:
        BenchError: the grids differ by more than `GRID_TOLERANCE_VOXELS`.
    """
    matched = match_axes(label, image.affine)
    tolerance = max(GEOMETRY_TOLERANCE_MM, GRID_TOLERANCE_VOXELS * min(image.spacing_mm))
    if difference := same_grid(image, matched, tolerance):
        raise BenchError(
            "mask and image lie on different grids",
            file=file,
            found=difference,
            expected=f"the grid of {image_file}",
            hint="nothing is resampled silently: download both again, or exclude the case",
        )
    return matched.array


def paste_on_image_grid(image: Volume, mask: Volume, file: Path, image_file: Path) -> Array:
    """A mask stored on a part of the image's grid, as booleans on the whole grid.

    Raises:
        BenchError: the voxels of the two do not coincide, or the mask reaches out of the image.
    """
    part = match_axes(mask, image.affine)
    to_image = np.linalg.inv(image.affine) @ part.affine
    size = np.array(part.array.shape)
    start = np.rint(to_image[:3, 3]).astype(int)
    # The last voxel must coincide too: a slightly different spacing shows there.
    last = (to_image @ np.array([*(size - 1), 1.0]))[:3]
    off = max(np.abs(to_image[:3, 3] - start).max(), np.abs(last - (start + size - 1)).max())
    if off > 2 * GRID_TOLERANCE_VOXELS:
        raise BenchError(
            "mask does not lie on voxels of the image's grid",
            file=file,
            found=f"spacing {mask.spacing_mm}, off by {off:.2f} voxels",
            expected=f"a part of the grid of {image_file}, spacing {image.spacing_mm}",
            hint="nothing is resampled silently: exclude the case in the card",
        )
    low, high = np.maximum(start, 0), np.minimum(start + size, image.array.shape)
    whole = np.zeros(image.array.shape, dtype=bool)
    inside = np.zeros(part.array.shape, dtype=bool)
    if (high > low).all():
        source = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        target = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        inside[source] = part.array[source] > 0
        whole[target] = inside[source]
    if np.count_nonzero(part.array > 0) != np.count_nonzero(inside):
        raise BenchError(
            "mask reaches out of the image",
            file=file,
            found=f"voxels {start.tolist()} to {(start + size).tolist()}",
            expected=f"within {image.array.shape} of {image_file}",
        )
    return whole


def whole_numbers(array: Array, file: Path) -> Array:
    """A label map as integers (floats that hold integers are common in public data).

    Raises:
        BenchError: NaN, infinity or a fraction is in it.
    """
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        return array
    result = np.empty(array.shape, dtype=np.int32)
    # By slabs, so that no second float copy of a large volume is held.
    for index in range(array.shape[-1]):
        slab = array[..., index]
        finite = np.isfinite(slab)
        fault = ~finite | (np.rint(np.where(finite, slab, 0)) != np.where(finite, slab, 0))
        if fault.any() or np.abs(slab).max() > np.iinfo(np.int32).max:
            raise BenchError(
                "label map holds values that are not integers",
                file=file,
                found=np.unique(slab[fault])[:5].tolist() or "values out of range",
                expected="one integer for each class",
                hint="it may be a probability map or a resampled mask; use the original labels",
            )
        result[..., index] = slab
    return result
