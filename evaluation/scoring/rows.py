"""A score row: the one place that writes it, for every way in which scores come about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluation.files.tables import spacing_text
from evaluation.metrics import ClassScore

Row = dict[str, Any]
UNKNOWN = -1


def score_row(
    score: ClassScore,
    *,
    model: str,
    dataset: str,
    case: str,
    patient: str = "",
    modality: str = "unknown",
    kind: str = "annotated",
    space: str = "native",
    spacing_mm: Sequence[float] = (),
    reason: str = "",
) -> Row:
    """One row of the table `scores` (`evaluation.schema.scores_table`).

    Args:
        score: what was measured, or what another tool says; what it does not know is unknown in
            the row (-1 voxels, NaN areas), never guessed.
        model: id of the model.
        dataset: id of the entry.
        case: id of the case.
        patient: id of the patient; empty = the case's.
        modality: of the scan.
        kind: `annotated`, `direct` or `union`.
        space: grid on which the masks were compared.
        spacing_mm: its voxel size; empty = unknown.
        reason: why a prediction is missing or unsupported, and what else is to be known.
    """
    return {
        "model": model,
        "dataset": dataset,
        "case": case,
        "patient": patient or case,
        "modality": modality,
        "class": score.class_name,
        "kind": kind,
        "status": score.status,
        "reason": reason,
        **score.values,
        "tolerance_mm": score.tolerance_mm,
        "space": space,
        "spacing_mm": spacing_text(spacing_mm),
        "reference_voxels": _known(score.reference_voxels),
        "prediction_voxels": _known(score.prediction_voxels),
        "intersection_voxels": _known(score.intersection_voxels),
        "surface_reference_total_mm2": score.surface_reference_total_mm2,
        "surface_reference_within_mm2": score.surface_reference_within_mm2,
        "surface_prediction_total_mm2": score.surface_prediction_total_mm2,
        "surface_prediction_within_mm2": score.surface_prediction_within_mm2,
        "implementation": score.implementation,
        "version": score.version,
        "definition": score.definition,
        "field_mm": score.field_mm,
    }


_SHARED = ("model", "dataset", "case", "patient", "modality", "class", "kind", "space")


def instance_rows(row: Row, score: ClassScore, matching: str) -> list[Row]:
    """Rows of the table `instances`: the single structures behind one score row.

    Args:
        row: the score row.
        score: what it was made of.
        matching: how the structures were told apart and matched, in words.
    """
    if score.status in ("unsupported", "not_annotated"):
        return []
    return [
        {
            **{name: row[name] for name in _SHARED},
            "side": one.side,
            "instance": one.instance,
            "volume_ml": one.volume_ml,
            "matched_to": " ".join(map(str, one.matched_to)),
            "detected": one.detected,
            "iou": one.iou,
            "dsc": one.dsc,
            "hd95_mm": one.hd95_mm,
            "status": score.status,
            "matching": matching,
            "definition": score.definition,
        }
        for one in score.instances
    ]


def _known(number: int | None) -> int:
    return UNKNOWN if number is None else number
