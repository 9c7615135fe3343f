"""One case in one space: what is compared with what, and the score rows of it.

A missing or failed prediction is a row with a status, never a silently smaller n; so is a class
that one answer has not, while the other classes of that answer count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from evaluation.metrics import ClassPair, ClassScore, EngineName, score_pairs
from evaluation.metrics.catalogue import find_metrics
from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName
from evaluation.metrics.instances.rules import DEFAULT_MATCHING, Matching
from evaluation.protocol import DEFAULT_METRICS, Status
from evaluation.scoring.rows import Row, instance_rows, score_row
from evaluation.volumes.image_files import spacing_of
from evaluation.volumes.segmentation import ClassPlace, Segmentation

FINE_TOLERANCE = "tolerance below the voxel spacing"


@dataclass(frozen=True)
class Measuring:
    """What all rows of a model on an entry have in common.

    Args:
        model: id of the model.
        dataset: id of the entry.
        tolerances_mm: of the metrics that have one.
        metrics: ids of the metrics asked for.
        engine: which code measures.
        definition: of surfaces and their distances.
        instances: classes whose structures are counted one by one; None = all.
        matching: how these are told apart and matched.
    """

    model: str
    dataset: str
    tolerances_mm: Sequence[float] = (1.0,)
    metrics: Sequence[str] = DEFAULT_METRICS
    engine: EngineName = "sweep"
    definition: DefinitionName = DEFAULT_DEFINITION
    instances: Collection[str] | None = None
    matching: Matching = DEFAULT_MATCHING


@dataclass(frozen=True)
class Asked:
    """One class under one kind, and where it lives on both sides.

    Args:
        class_name: the class.
        reference: its place in the reference; None = nobody annotated it.
        prediction: its place in the prediction; None = there is none.
        kind: `annotated`, `direct` or `union`.
        unsupported: why the model never answers it; empty = it does.
        missing: why this answer has not got it; empty = it has.
        note: what else is to be known of its rows.
    """

    class_name: str
    reference: ClassPlace | None
    prediction: ClassPlace | None
    kind: str = "annotated"
    unsupported: str = ""
    missing: str = ""
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """One case in one space, both sides on one grid.

    Args:
        case: id of the case.
        patient: id of the patient; empty = the case's.
        modality: of the scan.
        space: what grid it is.
        reference: decides the grid.
        prediction: None = there is none.
        asked: the classes to score.
        missing: why there is no prediction.
        note: what else is to be known of all rows that have one.
        unnamed: what belongs to no class (`value 7`, `mask file lung.nii.gz`): it counts as
            background, and whoever made it should know.
        lasting: whether the same files say the same next time. A prediction that could not be
            read is looked at again.
    """

    case: str
    patient: str
    modality: str
    space: str
    reference: Segmentation
    prediction: Segmentation | None
    asked: Sequence[Asked]
    missing: str = ""
    note: str = ""
    unnamed: tuple[str, ...] = ()
    lasting: bool = True


def compare_case(comparison: Comparison, measuring: Measuring) -> Iterator[tuple[Row, list[Row]]]:
    """Score rows of a comparison, one for each class x kind x tolerance.

    Each with the rows of the class's single structures, if they are counted and it is the first
    tolerance.
    """
    prediction = comparison.prediction
    if not comparison.asked:
        return
    spacing_mm = spacing_of(comparison.reference.affine)
    pairs = [ClassPair(a.class_name, a.reference, a.prediction) for a in comparison.asked]
    scores = score_pairs(
        comparison.reference.layers,
        None if prediction is None else prediction.layers,
        pairs,
        spacing_mm,
        measuring.tolerances_mm,
        measuring.engine,
        measuring.metrics,
        measuring.definition,
        measuring.instances,
        measuring.matching,
    )
    n = len(measuring.tolerances_mm)
    within = any(metric.has_tolerance for metric in find_metrics(measuring.metrics))
    for place, asked in enumerate(comparison.asked):
        for score in scores[place * n : (place + 1) * n]:
            judged, notes = _judged(score, asked, comparison)
            if within and judged.status == "scored" and score.tolerance_mm < max(spacing_mm):
                notes.append(FINE_TOLERANCE)
            notes += [asked.note] if asked.note else []
            row = score_row(
                judged,
                model=measuring.model,
                dataset=measuring.dataset,
                case=comparison.case,
                patient=comparison.patient,
                modality=comparison.modality,
                kind=asked.kind,
                space=comparison.space,
                spacing_mm=spacing_mm,
                reason="; ".join(notes),
            )
            first = score is scores[place * n]
            yield row, instance_rows(row, judged, measuring.matching.words) if first else []


def _judged(
    score: ClassScore, asked: Asked, comparison: Comparison
) -> tuple[ClassScore, list[str]]:
    """The score with its final status, and why."""
    status: Status = "prediction_missing"
    if asked.unsupported:
        status, why = "unsupported", asked.unsupported
    elif comparison.prediction is None:
        why = comparison.missing
    elif asked.missing:
        why = asked.missing
    else:
        return score, [comparison.note] if comparison.note else []
    if asked.reference is None:
        # What nobody annotated counts as empty: no policy may take it for a class that is there.
        score = replace(score, reference_voxels=0)
    return replace(score, status=status), [why]
