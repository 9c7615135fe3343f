"""The one gate that every answer of every adapter passes before it is written.

An answer may come in any orientation of the image's grid; on any other grid it is refused, for
nobody can say where it belongs. A class that was asked for and is not in the answer stays out of
what is written, and its score row says so (`comparing`): the other classes of the case count.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from evaluation.cases import ImageCase, Prediction
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.reading import as_labels
from evaluation.models.asking import kind_of
from evaluation.models.protocol import BatchModel, Model
from evaluation.volumes.image_files import (
    Affine,
    Array,
    Volume,
    orientation_of,
    read_grid,
    same_grid,
)
from evaluation.volumes.segmentation import ClassPlace, Segmentation

log = logging.getLogger(__name__)

LARGEST_VALUE = 65_535


def checked_model(model: object, where: str) -> Model | BatchModel:
    """The object of a model card, if it can be asked for classes and answers.

    Raises:
        BenchError: it lacks a method.
    """
    if not isinstance(model, Model | BatchModel):
        wanted = ("classes", "predict")
        lacking = [f"`{name}`" for name in wanted if not hasattr(model, name)]
        raise BenchError(
            f"{where} is not a model",
            found=f"{kind_of(model)} without {' and '.join(lacking)}",
            expected="methods `classes(dataset)` and `predict(case, classes)`, or `predict_all`",
            hint="docs/pages/models.md, `A Python object`, has a whole one",
        )
    return model


def checked_classes(answer: object, card: DatasetCard) -> dict[str, str | None]:
    """What a model said of an entry's classes: None if it supports one, otherwise the reason.

    Raises:
        BenchError: it is no such dictionary, or it names classes that the entry has not.
    """
    expected = "a dictionary of class -> None if it is supported, otherwise the reason why not"
    problem = f"the model's `classes` has no usable answer for `{card.id}`"
    if not isinstance(answer, Mapping):
        raise BenchError(problem, found=kind_of(answer), expected=expected)
    for name, reason in answer.items():
        if name not in card.class_names:
            hint = did_you_mean(str(name), card.class_names)
            raise BenchError(problem, found=f"`{name}`, no class of the entry", hint=hint)
        if reason is not None and not isinstance(reason, str):
            found = f"`{name}`: {reason!r}"
            raise BenchError(problem, found=found, expected=expected)
    return dict(answer)


def checked_answer(case: ImageCase, answer: object, classes: Sequence[str]) -> Prediction:
    """An answer as it may be written: on the image's grid, whole labels, the classes asked for.

    Args:
        case: what the model was given.
        answer: whatever came back.
        classes: the classes that were asked for. Others are dropped; one that is not in the
            answer is logged, and stays out.

    Raises:
        BenchError: it is no prediction, lies on another grid, holds other values than whole
            numbers from 0 to 65535, or has none of the classes; says what came back.
    """
    if not isinstance(answer, Prediction):
        raise BenchError(
            "the model returned no prediction",
            found=kind_of(answer),
            expected="evaluation.cases.Prediction with a Segmentation on the image's grid",
            hint='`Prediction(pack_masks(masks, image.affine, "direct"))` makes one of masks',
        )
    grid = read_grid(case.folder / "image.nii.gz")
    segmentation = _checked(answer.segmentation, "the answer", grid, classes)
    layers = tuple(
        on_grid(Volume(layer, segmentation.affine), grid, "the answer")
        for layer in segmentation.layers
    )
    missing = [name for name in classes if name not in segmentation.classes]
    if missing:
        others = [str(name) for name in answer.segmentation.classes if name not in classes]
        named = f", but {', '.join(others)}" if others else ""
        log.warning("%s: the answer has no %s%s", case.case, ", ".join(missing), named)
    own = answer.own_grid
    if own is not None:
        own = _checked(own, "own_grid", grid, classes)
        if set(own.classes) != set(segmentation.classes):
            raise BenchError(
                "own_grid has other classes than the answer on the image's grid",
                found=", ".join(own.classes),
                expected=", ".join(segmentation.classes),
            )
        own = _turned(own, grid)
    return Prediction(Segmentation(layers, grid.affine, segmentation.classes), own)


def on_grid(volume: Volume, grid: Volume, what: str, file: object = None) -> Array:
    """The voxels in the order of the image's, from any orientation of the image's grid.

    Args:
        volume: labels and their affine.
        grid: the image's grid.
        what: names the volume in the message.
        file: where it comes from, if it is a file.

    Raises:
        BenchError: the grid is another one; says how it differs.
    """
    turned = _turned_to(volume, grid.affine)
    if difference := same_grid(grid, turned):
        raise BenchError(
            f"{what} is not on the image's grid",
            file=None if file is None else str(file),
            found=f"{difference} (it came as {orientation_of(volume.affine)}, "
            f"shape {volume.array.shape})",
            expected="the image's grid, in any orientation; nothing is resampled",
        )
    return turned.array


def _turned_to(volume: Volume, affine: Affine) -> Volume:
    """Flipped and permuted so that its axes run along those of `affine`; no voxel changes."""
    turn = io_orientation(np.linalg.inv(affine) @ volume.affine)
    return Volume(
        apply_orientation(volume.array, turn),
        volume.affine @ inv_ornt_aff(turn, volume.array.shape),
    )


def _turned(own: Segmentation, grid: Volume) -> Segmentation:
    """A model's own grid along the image's axes: the reference can then be resampled onto it."""
    turned = [_turned_to(Volume(layer, own.affine), grid.affine) for layer in own.layers]
    steps = (np.linalg.inv(grid.affine) @ turned[0].affine)[:3, :3]
    if np.abs(steps - np.diag(np.diag(steps))).max() > 1e-4:
        raise BenchError(
            "own_grid is rotated against the image's grid",
            found=steps.round(4).tolist(),
            expected="the image's axes with another spacing or extent",
        )
    return Segmentation(tuple(v.array for v in turned), turned[0].affine, own.classes)


def _checked(found: object, what: str, grid: Volume, classes: Sequence[str]) -> Segmentation:
    """Types and values of a segmentation; only the classes asked for are kept."""
    if not isinstance(found, Segmentation):
        expected = "evaluation.volumes.segmentation.Segmentation"
        raise BenchError(f"{what} is no segmentation", found=kind_of(found), expected=expected)
    if not isinstance(found.layers, tuple | list) or not found.layers:
        raise BenchError(
            f"{what} has no list of layers",
            found=kind_of(found.layers),
            expected=f"a tuple of integer arrays of shape {grid.array.shape}",
        )
    layers = tuple(_layer(a, f"layer {i} of {what}", grid) for i, a in enumerate(found.layers))
    if len({layer.shape for layer in layers}) > 1:
        shapes = ", ".join(str(layer.shape) for layer in layers)
        raise BenchError(f"the layers of {what} have different shapes", found=shapes)
    return Segmentation(
        layers, _affine(found.affine, what), _places(found.classes, what, len(layers), classes)
    )


def _layer(found: object, what: str, grid: Volume) -> Array:
    if not isinstance(found, np.ndarray) or found.ndim != 3:
        raise BenchError(
            f"{what} is not a volume",
            found=kind_of(found),
            expected=f"an integer array (x, y, z), here of shape {grid.array.shape}",
            hint="one label map, or one layer for each mask: see `pack_masks`",
        )
    if not found.size:
        raise BenchError(f"{what} has no voxel", found=kind_of(found))
    labels = as_labels(np.asarray(found), what)
    if np.issubdtype(labels.dtype, np.signedinteger):
        if (low := int(labels.min())) < 0:
            raise BenchError(
                f"{what} holds values below 0", found=low, expected=f"0 to {LARGEST_VALUE}"
            )
        labels = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
    return labels


def _affine(found: object, what: str) -> Affine:
    try:
        affine = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        affine = np.zeros(0)
    usable = affine.shape == (4, 4) and np.isfinite(affine).all()
    if (
        not usable
        or abs(np.linalg.det(affine[:3, :3])) < 1e-12
        or affine[3].tolist() != [0, 0, 0, 1]
    ):
        raise BenchError(
            f"the affine of {what} is unusable",
            found=affine.tolist() if affine.size else kind_of(found),
            expected="4 x 4 finite numbers that map an index (x, y, z) to RAS millimetres",
        )
    return affine


def _places(
    found: object, what: str, n_layers: int, classes: Sequence[str]
) -> dict[str, ClassPlace]:
    asked = ", ".join(classes)
    if not isinstance(found, Mapping):
        raise BenchError(
            f"{what} does not say where its classes are",
            found=kind_of(found),
            expected=f"a dictionary of ClassPlace for {asked}",
        )
    places = {name: found[name] for name in classes if name in found}
    if not places:
        names = ", ".join(map(str, found)) or "no class"
        raise BenchError(f"{what} has none of the classes asked for", found=names, expected=asked)
    for name, place in places.items():
        if not isinstance(place, ClassPlace):
            raise BenchError(
                f"{what} does not say where `{name}` is",
                found=kind_of(place),
                expected="ClassPlace",
            )
        for part in place.parts:
            if not 0 <= part.layer < n_layers:
                raise BenchError(
                    f"{what} has `{name}` in a layer that is not there",
                    found=f"layer {part.layer}",
                    expected=f"0 to {n_layers - 1}",
                )
            if wrong := [value for value in part.values if not 0 <= value <= LARGEST_VALUE]:
                raise BenchError(
                    f"{what} has `{name}` under values that no layer can hold",
                    found=", ".join(map(str, wrong[:8])),
                    expected=f"0 to {LARGEST_VALUE}",
                )
    return places
