"""Label maps and predictions of them for benchmarks: a made-up whole body, or real data bent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.files.writing import visible
from evaluation.metrics.reading import read_labels
from evaluation.volumes.image_files import Volume, has_volume_suffix, spacing_of, write_volume

LabelMap = NDArray[np.uint8]
Field = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

# Half-widths of the trunk across, from back to front, and along the body, of half of each extent.
_TRUNK = np.array([0.85, 0.62, 0.95])
_WHOLE_BODY, _WHOLE_BODY_MM = (512, 512, 400), (0.8, 0.8, 1.5)
_SMALLEST_MM, _LARGEST_MM = 10.0, 120.0


def whole_body_pair(
    shape: Sequence[int] = _WHOLE_BODY,
    spacing_mm: Sequence[float] = _WHOLE_BODY_MM,
    n_labels: int = 100,
    shift_mm: float = 1.0,
    seed: int = 0,
) -> tuple[LabelMap, LabelMap]:
    """A reference and a prediction with about `n_labels` structures, the same for the same seed.

    Structures are ellipsoids in a trunk, from the size of a vertebra to that of a liver, with wavy
    surfaces; smaller ones lie on top of larger ones. The prediction holds the same structures,
    bent by smooth random waves of about `shift_mm`: with the defaults its mean DSC is about 0.9.

    Args:
        shape: voxels along x, y, z.
        spacing_mm: voxel size in mm.
        n_labels: at most 255; a structure that is covered by others leaves its label unused.
        shift_mm: amplitude of the displacement between reference and prediction.
        seed: of the random numbers.

    Returns:
        Two label maps (x, y, z), uint8, in Fortran order as NIfTI files hold them.
    """
    rng = np.random.default_rng(seed)
    extent = np.asarray(shape) * np.asarray(spacing_mm)
    radii = np.exp(rng.uniform(np.log(_SMALLEST_MM), np.log(_LARGEST_MM), (n_labels, 3)))
    mean = np.exp(np.log(radii).mean(axis=1, keepdims=True))
    radii = np.minimum(mean * (radii / mean) ** 0.4, extent / 5)
    radii = radii[np.argsort(-radii.prod(axis=1))]
    # Uniform in the trunk's ellipse, and along the body.
    angle, distance = rng.uniform(0, 2 * np.pi, n_labels), np.sqrt(rng.uniform(0, 1, n_labels))
    place = np.column_stack(
        [distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-1, 1, n_labels)]
    )
    centres = extent / 2 + place * _TRUNK * (extent / 2 - radii).clip(0)
    waves = _Waves(rng, extent, shift_mm)
    pair = []
    for bent in (False, True):
        labels = np.zeros(shape, dtype=np.uint8, order="F")
        for label in range(n_labels):
            _draw(labels, label + 1, centres[label], radii[label], spacing_mm, waves, bent)
        pair.append(labels)
    return pair[0], pair[1]


def bend(labels: NDArray[Any], spacing_mm: Sequence[float], shift_mm: float = 1.0) -> NDArray[Any]:
    """A prediction made from a real label map: nearest voxels of a smoothly bent copy.

    Args:
        labels: (x, y, z).
        spacing_mm: voxel size in mm.
        shift_mm: amplitude of the displacement; at least a voxel of movement needs about the
            size of a voxel.
    """
    rng = np.random.default_rng(0)
    size = np.asarray(labels.shape) * np.asarray(spacing_mm)
    waves = _Waves(rng, size, shift_mm)
    bent = np.empty_like(labels, order="F")
    for z in range(labels.shape[2]):
        grid = np.ogrid[: labels.shape[0], : labels.shape[1], z : z + 1]
        points = [(g + 0.5) * s for g, s in zip(grid, spacing_mm, strict=True)]
        index = [
            np.clip(np.rint(g + m / s), 0, n - 1).astype(np.intp)
            for g, m, s, n in zip(grid, waves.at(points), spacing_mm, labels.shape, strict=True)
        ]
        bent[:, :, z : z + 1] = labels[tuple(np.broadcast_arrays(*index, grid[0] + grid[1]))[:3]]
    return bent


def enlarge(labels: LabelMap, shape: Sequence[int]) -> LabelMap:
    """A label map on a finer grid over the same space: the nearest voxel, in Fortran order.

    Args:
        labels: (x, y, z).
        shape: voxels of the result along x, y, z.
    """
    index = [
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(shape, labels.shape, strict=True)
    ]
    large = np.empty(tuple(shape), dtype=labels.dtype, order="F")
    for z, source in enumerate(index[2]):
        large[:, :, z] = labels[:, :, source][np.ix_(*index[:2])]
    return large


def pair_of(
    data: Path | None,
    shape: tuple[int, int, int] | None,
    n_labels: int,
    shift_mm: float = 1.0,
) -> tuple[LabelMap, LabelMap, NDArray[np.float64]]:
    """A reference and a prediction, synthetic or from real data, and their affine."""
    if data is None:
        pair = whole_body_pair(shape or _WHOLE_BODY, _WHOLE_BODY_MM, n_labels, shift_mm)
        return *pair, np.diag([*_WHOLE_BODY_MM, 1.0])
    volume = _real_labels(data)
    affine, labels = volume.affine, volume.array
    if shape is not None:
        affine = affine @ np.diag([*(np.array(labels.shape) / shape), 1.0])
        labels = enlarge(labels, shape)
    return labels, bend(labels, spacing_of(affine), shift_mm), affine


def write_pair(
    paths: tuple[Path, Path],
    data: Path | None,
    shape: tuple[int, int, int] | None,
    n_labels: int,
) -> NDArray[np.float64]:
    """Write a reference and a prediction, synthetic or from real data; returns their affine."""
    *pair, affine = pair_of(data, shape, n_labels)
    for path, labels in zip(paths, pair, strict=True):
        write_volume(path, Volume(labels, affine))
    return affine


def _real_labels(data: Path) -> Volume:
    """A label map, or the masks of a folder as one, the first mask in a voxel counting."""
    if not data.is_dir():
        return read_labels(data)
    files = [path for path in visible(data) if has_volume_suffix(path)]
    if not files:
        raise BenchError("folder holds no mask", file=data, expected="one file for each class")
    first = read_labels(files[0])
    labels = np.zeros(first.array.shape, dtype=np.uint8, order="F")
    for value, file in enumerate(files[:255], start=1):
        labels[(read_labels(file).array > 0) & (labels == 0)] = value
    return Volume(labels, first.affine)


class _Waves:
    """A smooth displacement field: per component, a few plane waves along single axes."""

    def __init__(self, rng: np.random.Generator, extent: NDArray[np.float64], size_mm: float):
        self.size_mm = size_mm
        # Component, wave: axis of variation, wavelength in mm, phase.
        self.axis = rng.integers(0, 3, (3, 3))
        self.length = rng.uniform(0.1, 0.35, (3, 3)) * extent.mean()
        self.phase = rng.uniform(0, 2 * np.pi, (3, 3))

    def at(self, grid: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Displacement in mm along each axis, broadcastable over the grid."""
        return [
            sum(
                self.size_mm
                * np.sin(2 * np.pi * grid[self.axis[c, w]] / self.length[c, w] + self.phase[c, w])
                for w in range(3)
            )
            for c in range(3)
        ]


def _draw(
    labels: LabelMap,
    label: int,
    centre: NDArray[np.float64],
    radii: NDArray[np.float64],
    spacing_mm: Sequence[float],
    waves: _Waves,
    bent: bool,
) -> None:
    """Write one structure over what is there."""
    margin = 1.25 * radii + (3 * waves.size_mm if bent else 0)
    box = tuple(
        slice(max(0, int((c - m) / s)), max(0, int((c + m) / s) + 2))
        for c, m, s in zip(centre, margin, spacing_mm, strict=True)
    )
    target = labels[box]
    grid = np.ogrid[
        tuple(slice(b.start, b.start + n) for b, n in zip(box, target.shape, strict=True))
    ]
    points = [(g + 0.5) * s for g, s in zip(grid, spacing_mm, strict=True)]
    moved = waves.at(points) if bent else [np.zeros(1)] * 3
    away = [(p + m - c) / r for p, m, c, r in zip(points, moved, centre, radii, strict=True)]
    wavy = sum(0.06 * np.sin(9 * a + label) for a in away)
    target[(away[0] ** 2 + away[1] ** 2 + away[2] ** 2) < (1 + wavy) ** 2] = label
