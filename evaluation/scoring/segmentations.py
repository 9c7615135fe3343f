"""Segmentations as people have them, label maps or folders of masks, on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage

from evaluation.errors import BenchError
from evaluation.metrics.reading import read_labels
from evaluation.metrics.values import distinct_values
from evaluation.scoring.contours import read_rtstruct
from evaluation.scoring.inputs import Source
from evaluation.scoring.labels import Labels
from evaluation.volumes.dicom_segments import object_kind
from evaluation.volumes.image_files import GEOMETRY_TOLERANCE_MM, Volume, same_grid, to_ras
from evaluation.volumes.inflate import Arena
from evaluation.volumes.resample import resample_nearest
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks
from evaluation.volumes.segments import read_segments, segments_of


def unnamed_in(source: Source, segmentation: Segmentation, labels: Labels) -> tuple[str, ...]:
    """What no class names: values of a label map, mask files of a folder, or segments, in words."""
    if source.layout == "masks":
        there = source.masks()
        used = {source.mask_of(name, label, there) for name, label in labels.items()}
        return tuple(f"mask file {path.name}" for path in there.values() if path not in used)
    if source.layout == "segments":
        segments = segments_of(source.path)
        values = {value for label in labels.values() for value in label.values}
        by_name = any(name in labels for name in segments)
        return tuple(
            f"segment {name}"
            for name, part in segments.items()
            if not (name in labels if by_name else values.issuperset(part.values))
        )
    named = {value for label in labels.values() for value in label.values}
    present = distinct_values(segmentation.layers[0])
    return tuple(f"value {value}" for value in sorted(present - named - {0}))


def read_segmentation(
    source: Source,
    labels: Labels,
    arena: Arena | None = None,
    tolerance_mm: float = GEOMETRY_TOLERANCE_MM,
    other: Segmentation | None = None,
) -> Segmentation:
    """The classes of one label map or folder of masks.

    A class that the source cannot hold (no value for it, or no mask file) is left out.

    Args:
        source: where it lies.
        labels: the classes.
        arena: memory to read into.
        tolerance_mm: by how much voxels of masks of one case may lie elsewhere.
        other: the reference, on whose grid contours without a scan of their own are drawn.

    Raises:
        BenchError: a file cannot be used, or masks of one folder lie on different grids.
    """
    if source.problem:
        raise BenchError(source.problem, file=source.path)
    if source.layout == "label maps":
        volume = read_labels(source.path, arena, source.frame)
        classes = {
            name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=label.values),))
            for name, label in labels.items()
            if label.values
        }
        return Segmentation((volume.array,), volume.affine, classes)
    if source.layout == "segments":
        return _segments(source.path, labels, other)
    there = source.masks()
    found = {name: source.mask_of(name, label, there) for name, label in labels.items()}
    paths = {name: source.parts_of(path) for name, path in found.items() if path}
    masks = _MaskFiles(paths, arena, tolerance_mm, source.frame)
    if not masks:
        raise BenchError("folder holds no mask of any class", file=source.path)
    packed = pack_masks(masks, np.eye(4), "annotated")
    return replace(packed, affine=masks.affine())


def _segments(path: Path, labels: Labels, other: Segmentation | None) -> Segmentation:
    """The classes among named segments, by name; by value where no name is a class's."""
    contours = object_kind(path) == RTStructureSetStorage
    whole = read_rtstruct(path, labels, other) if contours else read_segments(path)
    named = {name: place for name, place in whole.classes.items() if name in labels}
    if not named and len(whole.layers) == 1 and not contours:
        values = {part.values[0] for place in whole.classes.values() for part in place.parts}
        named = {
            name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=label.values),))
            for name, label in labels.items()
            if values.intersection(label.values)
        }
    if not named:
        raise BenchError(
            "no segment has the name of a class", file=path, found=", ".join(segments_of(path)),
            expected=", ".join(labels), hint="rename the segments, or name the classes in --labels",
        )  # fmt: skip
    return replace(whole, classes=named)


def on_one_grid(
    reference: Segmentation,
    prediction: Segmentation,
    file: Path,
    tolerance_mm: float,
    resample: bool,
) -> tuple[Segmentation, Segmentation, bool]:
    """Both on the reference's grid, and whether the prediction was resampled for that.

    Axes may be stored flipped or permuted: then both are turned, and no voxel changes. One that
    has only the slices on which something is drawn gets the others. Anything else is refused, or
    resampled by nearest neighbour.

    Args:
        reference: decides the grid.
        prediction: is brought onto it.
        file: the prediction's, for the message.
        tolerance_mm: by how much voxels may lie elsewhere.
        resample: whether a prediction on another grid may be resampled.

    Raises:
        BenchError: the grids differ.
    """
    difference = _difference(reference, prediction, tolerance_mm)
    if difference is None:
        return reference, prediction, False
    reference, prediction = _turned(reference), _turned(prediction)
    reference, prediction = _filled_up(reference, prediction, tolerance_mm)
    if _difference(reference, prediction, tolerance_mm) is None:
        return reference, prediction, False
    if resample:
        moved = resample_nearest(prediction, reference.shape, reference.affine)
        return reference, moved, True
    raise BenchError(
        "prediction lies on another grid than the reference",
        file=file,
        found=difference,
        expected=f"the same shape, and voxel positions within {tolerance_mm:g} mm",
        hint="predict on the grid of the image; allow `--resample nearest`, or, if that is "
        "rounding, a larger `--grid-tolerance-mm`",
    )


class _MaskFiles(Mapping[str, NDArray[np.bool_]]):
    """Masks by class, read one at a time when they are asked for, all on the first one's grid.

    A class with several files has their union.
    """

    def __init__(
        self,
        paths: Mapping[str, Sequence[Path]],
        arena: Arena | None,
        tolerance: float,
        frame: int | None,
    ) -> None:
        self._paths = paths
        self._arena = arena
        self._tolerance_mm = tolerance
        self._frame = frame
        self._first: Volume | None = None

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        first, *others = self._paths[name]
        mask = self._read(first)
        for path in others:
            mask |= self._read(path)
        return mask

    def _read(self, path: Path) -> NDArray[np.bool_]:
        volume = read_labels(path, self._arena, self._frame)
        if self._first is None:
            # Only the grid is kept: the voxels' memory is used again.
            self._first = Volume(np.broadcast_to(False, volume.array.shape), volume.affine)
        elif difference := same_grid(self._first, volume, self._tolerance_mm):
            raise BenchError(
                "masks of one case lie on different grids", file=path, found=difference,
                expected=f"the same shape, and voxel positions within {self._tolerance_mm:g} mm",
                hint="if that is rounding, allow it by `--grid-tolerance-mm`",
            )  # fmt: skip
        if len(values := sorted(distinct_values(volume.array) - {0})) > 1:
            # Made binary, exchanged classes would score 1.
            shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
            raise BenchError(
                "the file holds several values: it is a label map, not the mask of one class",
                file=path,
                found=shown,
                expected="0 and one other value",
                hint="leave one label map in the folder of a case, or name the classes and their "
                "values in --labels",
            )
        mask: NDArray[np.bool_] = volume.array != 0
        return mask

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def affine(self) -> NDArray[np.float64]:
        """The affine of the masks that were read."""
        assert self._first is not None
        return self._first.affine


def _difference(a: Segmentation, b: Segmentation, tolerance_mm: float) -> str | None:
    grids = Volume(a.layers[0], a.affine), Volume(b.layers[0], b.affine)
    return same_grid(*grids, tolerance_mm)


def _turned(segmentation: Segmentation) -> Segmentation:
    volumes = [to_ras(Volume(layer, segmentation.affine)) for layer in segmentation.layers]
    return replace(segmentation, layers=tuple(v.array for v in volumes), affine=volumes[0].affine)


def _filled_up(
    reference: Segmentation, prediction: Segmentation, tolerance_mm: float
) -> tuple[Segmentation, Segmentation]:
    """Both with the slices that a partial one lacks, if one lattice of voxels holds both.

    One that is not partial is a whole scan: nothing is added to it.
    """
    to_voxels = np.linalg.inv(reference.affine)
    offset = np.rint((to_voxels @ prediction.affine[:, 3])[:3]).astype(int)
    moved = prediction.affine.copy()
    moved[:, 3] = reference.affine @ [*offset, 1]
    grids = Volume(prediction.layers[0], prediction.affine), Volume(prediction.layers[0], moved)
    partial = reference.partial or prediction.partial
    if not partial or same_grid(*grids, tolerance_mm) or _steps_differ(reference, prediction):
        return reference, prediction
    low = np.minimum(0, offset)
    high = np.maximum(reference.shape, offset + prediction.shape)
    origin = reference.affine @ [*low, 1]
    return (
        _padded(reference, -low, high - reference.shape, origin),
        _padded(prediction, offset - low, high - offset - prediction.shape, origin),
    )


def _steps_differ(a: Segmentation, b: Segmentation) -> bool:
    """Whether a step to the next voxel differs by more than rounding along the whole grid."""
    steps = np.abs(a.affine[:3, :3] - b.affine[:3, :3]).max(axis=0)
    return bool((steps * np.maximum(a.shape, b.shape) > GEOMETRY_TOLERANCE_MM).any())


def _padded(
    segmentation: Segmentation, before: NDArray[Any], after: NDArray[Any], origin: NDArray[Any]
) -> Segmentation:
    if not segmentation.partial or not (before.any() or after.any()):
        return segmentation
    affine = segmentation.affine.copy()
    affine[:, 3] = origin
    layers = tuple(
        np.pad(layer, list(zip(before, after, strict=True))) for layer in segmentation.layers
    )
    return replace(segmentation, layers=layers, affine=affine)
