"""Score one case: read both sides, bring them onto one grid, make rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from threading import local
from typing import Any, Literal

from evaluation.errors import BenchError
from evaluation.evaluate.inputs import Case
from evaluation.evaluate.labels import Labels
from evaluation.evaluate.segmentations import on_one_grid, read_segmentation, unnamed_in
from evaluation.metrics import ClassPair, ClassScore, EngineName, score_pairs
from evaluation.schema import spacing_text
from evaluation.volumes.image_files import GEOMETRY_TOLERANCE_MM, spacing_of
from evaluation.volumes.inflate import Arena
from evaluation.volumes.segmentation import Segmentation

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
                reference,
                answer,
                case.prediction.path,
                settings.grid_tolerance_mm,
                settings.resample == "nearest",
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


def _arena(role: str) -> Arena:
    """This thread's memory for one side of a case."""
    arenas: dict[str, Arena] = _memory.__dict__.setdefault("arenas", {})
    return arenas.setdefault(role, Arena())


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
