"""One training case on the grid of a network: its arrays and record in a folder of the store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation.classes.modality import Modality
from evaluation.files.writing import atomic_path, write_text
from evaluation.training.grid import (
    GridMap,
    bounding_box,
    crop_and_normalise,
    resample_image,
    resample_labels,
    triple,
)
from evaluation.training.points import EMPTY, Points, box_of, paint_points, points_on
from evaluation.training.settings import Grid
from evaluation.training.store import RECORD_FILE, ClassPoints, PreparedRecord
from evaluation.volumes.axes import AS_STORED, AxisOrder, turned, turned_masks, turned_points
from evaluation.volumes.image_files import Array, Volume
from evaluation.volumes.segmentation import ClassPlace, Segmentation, union_place

POINTS_PER_CLASS = 1000


def prepare_case(
    folder: Path,
    dataset: str,
    case: str,
    modality: Modality,
    image: Volume,
    reference: Segmentation,
    settings: Grid,
    *,
    not_annotated: Sequence[str] = (),
    source: str = "",
    points: Points = EMPTY,
    axes: AxisOrder = AS_STORED,
    sequence: str | None = None,
) -> PreparedRecord:
    """Put one case on the own grid and write it.

    Args:
        folder: where the case's files go.
        dataset: id of the dataset.
        case: id of the case.
        modality: which intensities it has.
        image: the image (x, y, z) in RAS.
        reference: label layers on the same grid.
        settings: grid and intensities.
        not_annotated: classes that this case has no annotation for.
        source: fingerprint of what the case is made from.
        points: of classes that are known at single places; the crop holds them all.
        axes: axis order of the own grid.
        sequence: of the scan, such as T1.

    Raises:
        BenchError: the image cannot be normalised (see `crop_and_normalise`).
    """
    stored = image.array.shape
    image, reference = turned(image, axes), turned_masks(reference, axes)
    sides = settings.sides_for(image.spacing_mm[2])
    grid = GridMap(triple(image.array.shape), image.spacing_mm, sides)
    marked = points_on(grid, {n: turned_points(found, axes, stored) for n, found in points.items()})
    resampled = resample_image(image.array, grid)
    normalised, box = crop_and_normalise(resampled, modality, settings, keep=box_of(marked))
    parts = [resample_labels(layer, grid)[box] for layer in reference.layers]
    start = np.array([side.start for side in box])
    inside = {name: voxels - start for name, voxels in marked.items()}
    painted, pointed = paint_points(inside, triple(normalised.shape), len(parts))
    classes = dict(reference.classes)
    for name, place in pointed.items():
        both = [classes[name], place] if name in classes else [place]
        classes[name] = union_place(both, "annotated")
    layers = np.stack([_small(layer) for layer in (*parts, *painted)])
    sampled, places = _sample_points(layers, classes, case)
    foreground = bounding_box(np.asarray((layers > 0).any(axis=0)))
    record = PreparedRecord(
        source=source,
        dataset=dataset,
        case=case,
        modality=modality,
        sequence=sequence,
        shape=triple(normalised.shape),
        classes=classes,
        not_annotated=tuple(not_annotated),
        points=places,
        label_size=triple([s.stop - s.start for s in foreground] if foreground else [0, 0, 0]),
    )
    # A case that is killed between its arrays must not count as the whole one that it was.
    (folder / RECORD_FILE).unlink(missing_ok=True)
    _write_array(folder / "image.npy", normalised.astype(np.float16))
    _write_array(folder / "layers.npy", layers)
    _write_array(folder / "points.npy", sampled)
    write_text(folder / RECORD_FILE, record.model_dump_json() + "\n")
    return record


def _sample_points(
    layers: Array, classes: Mapping[str, ClassPlace], case: str
) -> tuple[Array, dict[str, ClassPoints]]:
    chosen: list[Array] = []
    places: dict[str, ClassPoints] = {}
    start = 0
    for name, place in sorted(classes.items()):
        mask = np.zeros(layers.shape[1:], dtype=bool)
        for part in place.parts:
            mask |= np.isin(layers[part.layer], part.values)
        voxels = np.argwhere(mask)
        if not len(voxels):
            continue
        seed = hashlib.sha256(f"{case}/{name}".encode()).digest()[:8]
        random = np.random.default_rng(int.from_bytes(seed, "little"))
        picked = random.permutation(len(voxels))[:POINTS_PER_CLASS]
        places[name] = ClassPoints(start=start, count=len(picked), voxels=len(voxels))
        chosen.append(voxels[np.sort(picked)].astype(np.uint16))
        start += len(picked)
    return np.concatenate([np.zeros((0, 3), np.uint16), *chosen]), places


def _small(layer: Array) -> Array:
    """Label layers as uint8 where their values allow it."""
    return layer.astype(np.uint8 if layer.max(initial=0) < 256 else np.uint16)


def _write_array(path: Path, array: Array) -> None:
    # Not into the file itself: there numpy does not notice when a disk is full at the very end.
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
