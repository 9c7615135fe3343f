"""Pairs of masks in a run: which classes of a case are compared, in which spaces and kinds.

A generated class has a `direct` row if the model was asked for it by name, and a `union` row if it
predicted all of the parts. The spaces `resampled` and `cropped` are the protocol of the run's
study: its grid, the second cut round the reference as its document does. There a class whose card
has `study_values` for it is compared with those values of the reference's label map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.cases import CaseRecord, read_prediction, read_prediction_record, read_reference
from evaluation.classes.entry import ClassEntry
from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.protocol import STUDY_SPACES, Kind, Space
from evaluation.scoring.comparing import Asked, Comparison
from evaluation.scoring.pipeline import thread_memory
from evaluation.studies.record import Study
from evaluation.volumes.axes import AxisOrder, along_ras, slice_axis
from evaluation.volumes.crop import box_round, cut
from evaluation.volumes.image_files import spacing_of
from evaluation.volumes.resample import grid_of_spacing, resample_nearest
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, union_place


@dataclass(frozen=True)
class Target:
    """One thing to score: a class under one kind, with the parts that make it up.

    `study_values` are the values of the reference that the study's protocol takes for the class,
    where they are others than everywhere else.
    """

    class_name: str
    kind: Kind
    parts: tuple[str, ...]
    study_values: tuple[int, ...] | None = None


@dataclass(frozen=True)
class RunPairs:
    """What all cases of a model on an entry have in common."""

    paths: RunPaths
    config: RunConfig
    study: Study
    model: str
    dataset: str
    scope: Sequence[ClassEntry]
    support: Mapping[str, str | None]
    status: Mapping[str, tuple[str, str]]


def targets_of(
    scope: Sequence[ClassEntry], support: Mapping[str, str | None], study: str
) -> tuple[list[Target], dict[Target, str]]:
    """What is scored, and what is not, with the reason."""
    scored: list[Target] = []
    unsupported: dict[Target, str] = {}
    for entry in scope:
        direct = support[entry.name]
        parts = entry.union_of
        if parts is None:
            target = Target(entry.name, "annotated", (entry.name,), entry.study_values.get(study))
            if direct is None:
                scored.append(target)
            else:
                unsupported[target] = direct
            continue
        union = Target(entry.name, "union", parts)
        by_parts = all(support.get(part, "") is None for part in parts)
        if direct is None:
            scored.append(Target(entry.name, "direct", (entry.name,)))
        if by_parts:
            scored.append(union)
        if direct is not None and not by_parts:
            unsupported[union] = direct
    return scored, unsupported


def pairs_of(pairs: RunPairs, case: str) -> Iterator[Comparison]:
    """The comparisons of one case, one for each space."""
    folder = pairs.paths.case(pairs.dataset, case)
    record, reference = read_reference(folder, thread_memory("reference"))
    scored, unsupported = targets_of(pairs.scope, pairs.support, pairs.study.id)
    no_status = "failed", "no status: the prediction step did not run"
    status, reason = pairs.status.get(case, no_status)
    answer = pairs.paths.prediction(pairs.model, pairs.dataset, case)
    prediction = None
    if status == "ok":
        # It was whole when it was written: what is lost or damaged since is no answer of the
        # model, and never becomes its score.
        prediction = read_prediction(answer, arenas=thread_memory("prediction"))[1]
    for space in pairs.config.space:
        both = _in_space(pairs, space, answer, reference, prediction, record.grid_axes)
        if both is None:
            continue
        in_space, predicted = both
        asked = []
        for target in (*scored, *unsupported):
            place = None
            if _annotated(target, record):
                place = _reference_place(in_space, target, space)
            answered = None
            if predicted is not None and target not in unsupported:
                answered = _place(predicted, target)
            lacking = _lacking(predicted, target) if predicted is not None else ""
            asked.append(
                Asked(
                    target.class_name,
                    place,
                    answered,
                    target.kind,
                    unsupported.get(target, ""),
                    f"the answer has no {lacking}" if lacking else "",
                    _note(target, space, pairs.study),
                )
            )
        yield Comparison(
            record.case,
            record.patient,
            record.modality,
            space,
            in_space,
            predicted,
            asked,
            reason,
        )


def _note(target: Target, space: Space, study: Study) -> str:
    if space not in STUDY_SPACES or target.study_values is None:
        return ""
    values = ", ".join(map(str, target.study_values))
    return f"the reference's values {values}, as the study `{study.id}` counts them"


def _annotated(target: Target, record: CaseRecord) -> bool:
    return target.class_name in record.classes and target.class_name not in record.not_annotated


def _in_space(
    pairs: RunPairs,
    space: Space,
    folder: Path,
    reference: Segmentation,
    prediction: Segmentation | None,
    axes: AxisOrder,
) -> tuple[Segmentation, Segmentation | None] | None:
    """Reference and prediction in one space; None where a model has no grid of its own."""
    if space == "native":
        return reference, prediction
    if space in STUDY_SPACES:
        protocol = pairs.study.protocol
        crop = protocol.crop.get(pairs.dataset) if space == "cropped" else None
        spacing_mm = protocol.grid_mm(axes)
        if spacing_mm is None or not protocol.has_space(space):
            raise BenchError(f"the study `{pairs.study.id}` has no grid `{space}`")
        if crop is not None and crop.keeps_slices:
            across = slice_axis(axes)
            sides = list(spacing_mm)
            sides[across] = spacing_of(reference.affine)[across]
            spacing_mm = sides[0], sides[1], sides[2]
        shape, affine = grid_of_spacing(reference.shape, reference.affine, spacing_mm)
        resampled = resample_nearest(reference, shape, affine)
        answered = None if prediction is None else resample_nearest(prediction, shape, affine)
        box = (
            None if crop is None else box_round(resampled, along_ras(crop.margin, axes), crop.least)
        )
        if box is None:
            return resampled, answered
        return cut(resampled, box), None if answered is None else cut(answered, box)
    if prediction is None or not read_prediction_record(folder).own_n_layers:
        return None
    own = read_prediction(folder, own_grid=True)[1]
    return resample_nearest(reference, own.shape, own.affine), own


def _names(target: Target) -> tuple[str, ...]:
    """The classes that make up a target."""
    return target.parts if target.kind == "union" else (target.class_name,)


def _lacking(prediction: Segmentation, target: Target) -> str:
    """Classes of a target that an answer has not, in words."""
    return ", ".join(f"`{n}`" for n in _names(target) if n not in prediction.classes)


def _place(segmentation: Segmentation, target: Target) -> ClassPlace | None:
    """Where a target lives: its own place, or the union of its parts' places."""
    names = _names(target)
    known = [segmentation.classes[name] for name in names if name in segmentation.classes]
    if len(known) < len(names):
        return None
    return known[0] if len(known) == 1 else union_place(known, "union")


def _reference_place(reference: Segmentation, target: Target, space: Space) -> ClassPlace | None:
    """Where a target lives in the reference of a space."""
    place = _place(reference, target)
    if place is None or space not in STUDY_SPACES or target.study_values is None:
        return place
    # A class with values comes from a label map, which is one layer.
    layer = Part(layer=place.parts[0].layer, values=target.study_values)
    return ClassPlace(kind=place.kind, parts=(layer,))
