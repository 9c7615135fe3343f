"""DICOM series with true slice positions."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.classes.modality import DICOM_MODALITIES
from evaluation.datasets.readers.dicom_slice import pixels_of, place_of, read_slice
from evaluation.errors import BenchError
from evaluation.files.writing import is_hidden
from evaluation.volumes.geometry import refuse_shear
from evaluation.volumes.image_files import LPS_TO_RAS, Array, Volume

# A missing slice moves the others by at least half a step from equal distances.
UNEVEN_STEPS = 0.25


@dataclass(frozen=True)
class Series:
    """A series as a volume whose third axis ascends along the slice normal.

    `order[k]` is the index, among the files as they were given, of slice k.
    """

    volume: Volume
    order: tuple[int, ...]


def natural_key(path: Path) -> tuple[tuple[int, str], ...]:
    """Sort `slice10` after `slice9`."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", path.name.lower())
        if part
    )


def series_files(folder: Path) -> tuple[Path, ...]:
    """All DICOM files at or below a folder, in natural order; linked folders are not entered.

    Reads names only: files with the suffix `.dcm`, or all visible files where none has it.
    """
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        # Regular files only: to open a pipe would wait for ever.
        files += [Path(parent) / n for n in names if not is_hidden(n) and Path(parent, n).is_file()]
    dicom = [file for file in files if file.suffix.lower() == ".dcm"] or files
    return tuple(sorted(dicom, key=lambda file: (str(file.parent), natural_key(file))))


def image_series(files: Sequence[Path]) -> list[Path]:
    """Those files that belong to the one CT or MR series among them (others hold contours).

    Raises:
        BenchError: there is no image series, or more than one.
    """
    groups: dict[str, list[Path]] = {}
    names: dict[str, str] = {}
    for file in files:
        header = read_slice(file, pixels=False)
        if header.get("Modality") in DICOM_MODALITIES:
            series = str(header.get("SeriesInstanceUID"))
            groups.setdefault(series, []).append(file)
            names[series] = f"{header.Modality} {header.get('SeriesDescription', '')}".strip()
    if len(groups) != 1:
        listed = [
            f"{names[series]}: {len(members)} files, the first is {members[0].name}"
            for series, members in groups.items()
        ]
        raise BenchError(
            "the folder must hold one image series",
            file=files[0].parent if files else None,
            found="\n            ".join(
                [f"{len(groups)} CT or MR series in {len(files)} files", *listed[:8]]
            ),
            expected="1",
            hint="move the others to folders of their own" if groups else None,
        )
    return next(iter(groups.values()))


def read_series(files: Sequence[Path]) -> Series:
    """Read single-frame slices into a volume (x, y, z), rescaled (CT: HU), with an RAS affine.

    The step between slices comes from ImagePositionPatient: the tag SliceThickness is the
    thickness of the reconstructed slab, not the distance to the next one.

    Raises:
        BenchError: unreadable, mixed or unevenly spaced slices.
    """
    if len(files) < 2:
        raise BenchError(
            "a DICOM series needs at least two slices",
            file=files[0] if files else None,
            found=len(files),
        )
    slices = [read_slice(file, pixels=True) for file in files]
    places = [place_of(item, file) for item, file in zip(slices, files, strict=True)]
    first = places[0]
    for file, place in zip(files, places, strict=True):
        for tag in ("shape", "spacing", "axes"):
            if not np.allclose(getattr(place, tag), getattr(first, tag), atol=1e-4):
                raise BenchError(
                    f"slices of one series differ in their {tag}",
                    file=file,
                    found=np.ravel(getattr(place, tag)).tolist(),
                    expected=f"{np.ravel(getattr(first, tag)).tolist()} of {files[0].name}",
                )
    positions = np.array([place.position for place in places])
    along = positions @ np.cross(*first.axes)
    order = tuple(int(index) for index in np.argsort(along, kind="stable"))
    _require_even_steps(along[list(order)], [files[i] for i in order])
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns); x runs along a row, over the columns.
    affine[:3, 0] = first.axes[0] * first.spacing[1]
    affine[:3, 1] = first.axes[1] * first.spacing[0]
    affine[:3, 2] = (positions[order[-1]] - positions[order[0]]) / (len(slices) - 1)
    affine[:3, 3] = positions[order[0]]
    refuse_shear(affine, files[0].parent)
    array = np.stack([pixels_of(slices[i], files[i]) for i in order], axis=-1)
    return Series(Volume(array, LPS_TO_RAS @ affine), order)


def _require_even_steps(along_mm: Array, files: Sequence[Path]) -> None:
    step = (along_mm[-1] - along_mm[0]) / (len(along_mm) - 1)
    even = along_mm[0] + step * np.arange(len(along_mm))
    steps = np.diff(along_mm)
    # In the middle of a short series, it moves them by less; but one step is then twice as long.
    jump = np.abs(steps - np.median(steps)).max() > 2 * UNEVEN_STEPS * np.median(steps)
    if step < 1e-3 or jump or np.abs(along_mm - even).max() > UNEVEN_STEPS * step:
        worst = int(np.abs(steps - np.median(steps)).argmax())
        raise BenchError(
            "slices are not evenly spaced: one is missing or there twice",
            file=files[worst + 1],
            found=f"{steps[worst]:.3f} mm from the slice before it ({files[worst].name})",
            expected=f"{np.median(steps):.3f} mm",
            hint="download the series again",
        )
