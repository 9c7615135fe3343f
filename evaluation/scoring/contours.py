"""DICOM RTSTRUCT: contours in millimetres, drawn on the slices of a scan.

A voxel belongs to a structure where its centre lies within an odd number of the structure's
closed contours on its slice: a contour within another one is a hole, and a channel that joins both
is none. Nothing is drawn on slices without a contour.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from evaluation.datasets.readers.dicom import image_series, read_series
from evaluation.errors import BenchError
from evaluation.volumes.dicom_segments import object_kind, readable, rtstruct_names
from evaluation.volumes.image_files import LPS_TO_RAS, require_memory
from evaluation.volumes.segmentation import Segmentation, pack_masks

_OFF_PLANE = 0.25  # of the distance between slices
_FEWEST = 3  # points: fewer enclose nothing
_CLOSED = ("CLOSED_PLANAR", "CLOSED_PLANAR_XOR", "CLOSEDPLANAR_XOR")

Points = NDArray[np.float64]


def slices_beside(path: Path) -> list[Path]:
    """The DICOM files in a structure set's folder that are no objects with segments."""
    there = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == ".dcm" and p.is_file())
    return [file for file in there if object_kind(file) is None]


def read_rtstruct(path: Path, wanted: Collection[str], other: Segmentation | None) -> Segmentation:
    """The wanted structures, on the scan in the file's own folder, else on the other side's grid.

    Args:
        path: of the structure set.
        wanted: names of structures; others are not drawn.
        other: the reference, for a prediction whose scan is not there.

    Raises:
        BenchError: it cannot be read, there is no grid, or contours lie off its slices.
    """
    if find_spec("skimage") is None:
        raise BenchError(
            "RTSTRUCT needs the package scikit-image", file=path,
            hint="pip install 'satbench[clinical]'",
        )  # fmt: skip
    names = rtstruct_names(path)
    with readable(path):
        content = pydicom.dcmread(path)
        numbers = {number: name for name, number in names.items() if name in wanted}
        contours: dict[str, list[Points]] = {name: [] for name in numbers.values()}
        for roi in content.get("ROIContourSequence", []):
            name = numbers.get(int(roi.ReferencedROINumber))
            if name is not None:
                drawn = [
                    np.array(item.get("ContourData") or (), dtype=np.float64).reshape(-1, 3)
                    for item in roi.get("ContourSequence", [])
                    if item.ContourGeometricType in _CLOSED
                ]
                contours[name] += [points for points in drawn if len(points) >= _FEWEST]
        _require_finite(path, contours)
    grid = _own_grid(path, content) or other
    if grid is None:
        raise BenchError(
            "an RTSTRUCT has no voxels of its own, and its scan is not in its folder", file=path,
            expected="the slices of its DICOM series beside it",
            hint="copy the series into the folder; a prediction may do without, and is then drawn "
            "on the reference's grid",
        )  # fmt: skip
    return _drawn(path, contours, grid)


def _require_finite(path: Path, contours: Mapping[str, list[Points]]) -> None:
    for name, of_one in contours.items():
        if not all(np.isfinite(points).all() for points in of_one):
            raise BenchError(
                "a contour has a point that is no place", file=path,
                found=f"a coordinate of `{name}` that is no finite number", hint="export it again",
            )  # fmt: skip


def _own_grid(path: Path, content: Any) -> Segmentation | None:
    files = slices_beside(path)
    if not files:
        return None
    chosen = image_series(files)
    named = content.get("ReferencedFrameOfReferenceSequence", [])
    frames = [str(item.FrameOfReferenceUID) for item in named]
    own = str(pydicom.dcmread(chosen[0], stop_before_pixels=True).get("FrameOfReferenceUID"))
    if frames and own not in frames:
        raise BenchError(
            "the series in the folder is not the one that the contours were drawn on", file=path,
            found=f"frame of reference {own}", expected=", ".join(frames),
        )  # fmt: skip
    volume = read_series(chosen).volume
    empty = np.broadcast_to(np.uint8(0), volume.array.shape)
    return Segmentation((empty,), volume.affine, {})


def _drawn(path: Path, contours: Mapping[str, list[Points]], grid: Segmentation) -> Segmentation:
    """The structures on a grid; a partial one gets the slices that it lacks."""
    to_voxels = np.linalg.inv(grid.affine) @ LPS_TO_RAS
    placed = {
        name: [points @ to_voxels[:3, :3].T + to_voxels[:3, 3] for points in of_one]
        for name, of_one in contours.items()
    }
    every = [points for of_one in placed.values() for points in of_one]
    if not every:
        return pack_masks(_Masks(placed, grid.shape, 2), grid.affine, "annotated")
    axis = int(np.argmin(np.max([np.ptp(points, axis=0) for points in every], axis=0)))
    off = max(float(np.abs(p[:, axis] - np.rint(p[:, axis].mean())).max()) for p in every)
    if off > _OFF_PLANE:
        raise BenchError(
            "contours do not lie on the slices of the grid", file=path,
            found=f"a point {off:.2f} of a slice away", expected=f"at most {_OFF_PLANE}",
            hint="put the series on which they were drawn beside the file",
        )  # fmt: skip
    planes = [round(float(points[:, axis].mean())) for points in every]
    low, high = min(0, *planes), max(grid.shape[axis], max(planes) + 1)
    outside = low < 0 or high > grid.shape[axis]
    if outside and not grid.partial:
        raise BenchError(
            "contours lie beyond the scan", file=path,
            found=f"slices {min(planes)} to {max(planes)}",
            expected=f"0 to {grid.shape[axis] - 1}",
        )  # fmt: skip
    shape, affine = list(grid.shape), grid.affine.copy()
    shape[axis] = high - low
    require_memory(path, prod(shape))
    affine[:, 3] += low * grid.affine[:, axis]
    for of_one in placed.values():
        for points in of_one:
            points[:, axis] -= low
    return replace(
        pack_masks(_Masks(placed, tuple(shape), axis), affine, "annotated"), partial=grid.partial
    )


class _Masks(Mapping[str, NDArray[np.bool_]]):
    """Masks by structure, drawn one at a time when they are asked for."""

    def __init__(
        self, placed: Mapping[str, list[Points]], shape: tuple[int, ...], axis: int
    ) -> None:
        self._placed, self._shape, self._axis = placed, shape, axis

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        from skimage.draw import polygon

        mask = np.zeros(self._shape, dtype=bool, order="F")
        slices = np.moveaxis(mask, self._axis, -1)
        for points in self._placed[name]:
            plane = round(float(points[:, self._axis].mean()))
            rows, columns = np.delete(points, self._axis, axis=1).T
            inside = polygon(rows, columns, slices.shape[:2])
            slices[..., plane][inside] ^= True
        return mask

    def __iter__(self) -> Iterator[str]:
        return iter(self._placed)

    def __len__(self) -> int:
        return len(self._placed)
