"""Score one case: read both sides, bring them onto one grid, make rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import local
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import ClassPlace, Part, Segmentation, pack_masks
from evaluation.errors import BenchError
from evaluation.evaluate.inputs import Case, Source
from evaluation.evaluate.labels import Labels
from evaluation.inflate import Arena
from evaluation.io import GEOMETRY_TOLERANCE_MM, Volume, same_grid, spacing_of, to_ras
from evaluation.metrics import ClassPair, ClassScore, EngineName, score_pairs
from evaluation.metrics.reading import read_labels
from evaluation.metrics.values import distinct_values
from evaluation.resample import resample_nearest
from evaluation.schema import spacing_text

Row = dict[str, Any]
UNKNOWN = -1
NO_PREDICTION = "no prediction of this name"
RESAMPLED = "prediction resampled (nearest) to the reference's grid"
FINE_TOLERANCE = "tolerance below the voxel spacing"
_memory = local()


@dataclass(frozen=True)
class Settings:
    """What decides a case's rows, apart from its files.

    `answered` are the classes for which the prediction has a mask in at least one case: a mask
    that lacks in another case is then missing, not unsupported.
    """

    labels: Labels
    answered: frozenset[str]
    tolerances_mm: tuple[float, ...] = (1.0,)
    engine: EngineName = "sweep"
    resample: Literal["refuse", "nearest"] = "refuse"
    grid_tolerance_mm: float = GEOMETRY_TOLERANCE_MM
    model: str = "prediction"
    dataset: str = "reference"
    modality: str = "unknown"


@dataclass(frozen=True)
class CaseScores:
    """Score rows of one case, one for each class and tolerance.

    `unnamed` are values (or mask files) of the prediction that belong to no class: they count as
    background, and whoever made them should know.
    """

    rows: list[Row]
    unnamed: tuple[str, ...] = ()


def score_case(case: Case, settings: Settings) -> CaseScores:
    """Score one case.

    A prediction that is missing, unreadable or on another grid gives rows with the status
    `prediction_missing` and the reason.

    Raises:
        BenchError: the reference cannot be used, so that there is nothing to score.
    """
    reference = read_segmentation(case.reference, settings.labels, _arena("reference"))
    prediction: Segmentation | None = None
    reason, resampled = NO_PREDICTION, False
    unnamed: tuple[str, ...] = ()
    if case.prediction is not None:
        try:
            answer = read_segmentation(case.prediction, settings.labels, _arena("prediction"))
            unnamed = unnamed_in(case.prediction, answer, settings.labels)
            reference, prediction, resampled = on_one_grid(
                reference, answer, case.prediction.path, settings
            )
        except BenchError as error:
            reason = error.one_line
    spacing = spacing_of(reference.affine)
    pairs = [
        ClassPair(
            name,
            reference.classes.get(name),
            None if prediction is None else prediction.classes.get(name),
        )
        for name in settings.labels
    ]
    scores = score_pairs(
        reference.layers,
        None if prediction is None else prediction.layers,
        pairs,
        spacing,
        settings.tolerances_mm,
        settings.engine,
    )
    rows = []
    for score in scores:
        why = reason if prediction is None else "the prediction has no mask of this class"
        if score.status == "unsupported" and score.class_name in settings.answered:
            score = replace(score, status="prediction_missing")
            why = "mask file of this class is missing"
        elif resampled and prediction is not None:
            why = RESAMPLED
        rows.append(_row(case.name, score, spacing, why, settings))
    return CaseScores(rows, unnamed)


def unnamed_in(source: Source, segmentation: Segmentation, labels: Labels) -> tuple[str, ...]:
    """Values of a label map, or mask files of a folder, that no class names."""
    if source.layout == "masks":
        there = source.masks()
        used = {source.mask_of(name, label, there) for name, label in labels.items()}
        return tuple(path.name for path in there.values() if path not in used)
    named = {value for label in labels.values() for value in label.values}
    present = distinct_values(segmentation.layers[0])
    return tuple(str(value) for value in sorted(present - named - {0}))


def read_segmentation(source: Source, labels: Labels, arena: Arena | None = None) -> Segmentation:
    """The classes of one label map or folder of masks.

    A class that the source cannot hold (no value for it, or no mask file) is left out.

    Raises:
        BenchError: a file cannot be used, or masks of one folder lie on different grids.
    """
    if source.problem:
        raise BenchError(source.problem, file=source.path)
    if source.layout == "label maps":
        volume = read_labels(source.path, arena)
        classes = {
            name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=label.values),))
            for name, label in labels.items()
            if label.values
        }
        return Segmentation((volume.array,), volume.affine, classes)
    there = source.masks()
    found = {name: source.mask_of(name, label, there) for name, label in labels.items()}
    masks = _MaskFiles({name: path for name, path in found.items() if path}, arena)
    if not masks:
        raise BenchError("folder holds no mask of any class", file=source.path)
    packed = pack_masks(masks, np.eye(4), "annotated")
    return replace(packed, affine=masks.affine())


def on_one_grid(
    reference: Segmentation, prediction: Segmentation, file: Path, settings: Settings
) -> tuple[Segmentation, Segmentation, bool]:
    """Both on the reference's grid, and whether the prediction was resampled for that.

    Axes may be stored flipped or permuted: then both are turned, and no voxel changes. Anything
    else is refused, or resampled by nearest neighbour if the settings say so.

    Raises:
        BenchError: the grids differ.
    """
    tolerance = settings.grid_tolerance_mm
    difference = _difference(reference, prediction, tolerance)
    if difference is None:
        return reference, prediction, False
    reference, prediction = _turned(reference), _turned(prediction)
    if _difference(reference, prediction, tolerance) is None:
        return reference, prediction, False
    if settings.resample == "nearest":
        moved = resample_nearest(prediction, reference.shape, reference.affine)
        return reference, moved, True
    raise BenchError(
        "prediction lies on another grid than the reference",
        file=file,
        found=difference,
        expected=f"the same shape, and voxel positions within {tolerance:g} mm",
        hint="predict on the grid of the image, or allow `--resample nearest`",
    )


class _MaskFiles(Mapping[str, NDArray[np.bool_]]):
    """Masks by class, read one at a time when they are asked for, all on the first one's grid."""

    def __init__(self, paths: Mapping[str, Path], arena: Arena | None) -> None:
        self._paths = paths
        self._arena = arena
        self._first: Volume | None = None

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        path = self._paths[name]
        volume = read_labels(path, self._arena)
        if self._first is None:
            # Only the grid is kept: the voxels' memory is used again.
            self._first = Volume(np.broadcast_to(False, volume.array.shape), volume.affine)
        elif difference := same_grid(self._first, volume):
            raise BenchError(
                "masks of one case lie on different grids", file=path, found=difference
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


def _arena(role: str) -> Arena:
    """This thread's memory for one side of a case."""
    arenas: dict[str, Arena] = _memory.__dict__.setdefault("arenas", {})
    return arenas.setdefault(role, Arena())


def _difference(a: Segmentation, b: Segmentation, tolerance_mm: float) -> str | None:
    grids = Volume(a.layers[0], a.affine), Volume(b.layers[0], b.affine)
    return same_grid(*grids, tolerance_mm)


def _turned(segmentation: Segmentation) -> Segmentation:
    volumes = [to_ras(Volume(layer, segmentation.affine)) for layer in segmentation.layers]
    return replace(segmentation, layers=tuple(v.array for v in volumes), affine=volumes[0].affine)


def _row(
    case: str,
    score: ClassScore,
    spacing: tuple[float, float, float],
    reason: str,
    settings: Settings,
) -> Row:
    unscored = score.status in ("prediction_missing", "unsupported")
    notes = [reason] if unscored or reason == RESAMPLED else []
    if score.status == "scored" and score.tolerance_mm < max(spacing):
        notes.append(FINE_TOLERANCE)
    return {
        "model": settings.model,
        "dataset": settings.dataset,
        "case": case,
        "patient": case,
        "modality": settings.modality,
        "class": score.class_name,
        "kind": "annotated",
        "status": score.status,
        "reason": "; ".join(notes),
        "dsc": score.dsc,
        "nsd": score.nsd,
        "tolerance_mm": score.tolerance_mm,
        "space": "native",
        "spacing_mm": spacing_text(spacing),
        "reference_voxels": _known(score.reference_voxels),
        "prediction_voxels": _known(score.prediction_voxels),
        "intersection_voxels": _known(score.intersection_voxels),
        "surface_reference_total_mm2": score.surface_reference_total_mm2,
        "surface_reference_within_mm2": score.surface_reference_within_mm2,
        "surface_prediction_total_mm2": score.surface_prediction_total_mm2,
        "surface_prediction_within_mm2": score.surface_prediction_within_mm2,
        "implementation": score.implementation,
        "version": score.version,
    }


def _known(number: int | None) -> int:
    return UNKNOWN if number is None else number


def unmeasured_row(model: str, dataset: str, case: str, class_name: str) -> Row:
    """A row in which nothing is known yet but what it is about; importers fill it in."""
    return {
        "model": model,
        "dataset": dataset,
        "case": case,
        "patient": case,
        "modality": "unknown",
        "class": class_name,
        "kind": "annotated",
        "status": "scored",
        "reason": "",
        "dsc": math.nan,
        "nsd": math.nan,
        "tolerance_mm": math.nan,
        "space": "native",
        "spacing_mm": "",
        "reference_voxels": UNKNOWN,
        "prediction_voxels": UNKNOWN,
        "intersection_voxels": UNKNOWN,
        "surface_reference_total_mm2": math.nan,
        "surface_reference_within_mm2": math.nan,
        "surface_prediction_total_mm2": math.nan,
        "surface_prediction_within_mm2": math.nan,
        "implementation": "",
        "version": "",
    }
