"""Score rows of one case: which classes are scored under which kind, and what each row says.

One row for each class x kind x space x tolerance. A missing or failed prediction is a row with a
status, never a silently smaller n; so is a class that one answer of a model that supports it has
not, while the other classes of that answer count. A generated class has a `direct` row if the
model was asked for it by name, and a `union` row if it predicted all of the parts.

The space `resampled` is the protocol of the run's study, on its grid. There a class whose card
has `study_values` for it is compared with those values of the reference's label map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

from evaluation.cases import CaseRecord, read_prediction, read_prediction_record, read_reference
from evaluation.classes.entry import ClassEntry
from evaluation.config import RunConfig, Space
from evaluation.errors import BenchError
from evaluation.metrics import ClassPair, ClassScore, score_pairs
from evaluation.paths import RunPaths
from evaluation.schema import spacing_text
from evaluation.studies.record import Study
from evaluation.volumes.image_files import spacing_of
from evaluation.volumes.inflate import Arena
from evaluation.volumes.resample import grid_of_spacing, resample_nearest
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, union_place

Row = dict[str, Any]
_memory = local()


@dataclass(frozen=True)
class Target:
    """One thing to score: a class under one kind, with the parts that make it up.

    `study_values` are the values of the reference that the study's protocol takes for the class,
    where they are others than everywhere else.
    """

    class_name: str
    kind: str
    parts: tuple[str, ...]
    study_values: tuple[int, ...] | None = None

    @property
    def key(self) -> str:
        """Name under which both segmentations hold it while they are compared."""
        return f"{self.kind}:{self.class_name}"


@dataclass(frozen=True)
class Measuring:
    """What all cases of a shard have in common."""

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
        direct = support.get(entry.name, "the model does not know this class")
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


def measure_case(m: Measuring, case: str) -> Iterator[Row]:
    """Score rows of one case, to be taken before this thread measures the next one."""
    record, reference = read_reference(m.paths.case(m.dataset, case), _arenas("reference"))
    scored, unsupported = targets_of(m.scope, m.support, m.study.id)
    status, reason = m.status.get(case, ("failed", "no status: the prediction step did not run"))
    folder = m.paths.prediction(m.model, m.dataset, case)
    prediction = None
    if status == "ok":
        try:
            prediction = read_prediction(folder, arenas=_arenas("prediction"))[1]
        except BenchError as error:
            reason = error.one_line
    for space in m.config.space:
        pair = _pair(m.study, space, folder, reference, prediction)
        if pair is None:
            continue
        in_space, predicted = pair
        answers = None if predicted is None else predicted.layers
        spacing_mm = spacing_of(in_space.affine)
        for targets, layers in ((scored, answers), (list(unsupported), in_space.layers)):
            pairs = [
                ClassPair(
                    target.key,
                    _reference_place(in_space, target, space)
                    if _annotated(target, record)
                    else None,
                    None
                    if predicted is None or target in unsupported
                    else _place(predicted, target),
                )
                for target in targets
            ]
            if not pairs:
                continue
            results = score_pairs(in_space.layers, layers, pairs, spacing_mm, m.config.tolerance_mm)
            by_key = {target.key: target for target in targets}
            for result in results:
                target = by_key[result.class_name]
                # A class that nobody annotated counts as empty under the paper's policy, so a
                # missing prediction of it stays a missing prediction.
                result_status, why = result.status, ""
                if target in unsupported:
                    result_status, why = "unsupported", unsupported[target]
                elif predicted is None:
                    result_status, why = "prediction_missing", reason
                elif lacking := _lacking(predicted, target):
                    result_status, why = "prediction_missing", f"the answer has no {lacking}"
                yield _row(m, record, target, space, spacing_mm, result, result_status, why)


def _arenas(role: str) -> list[Arena]:
    """This thread's memory for the layers of one side: fresh memory costs as much as a sweep."""
    kept: dict[str, list[Arena]] = _memory.__dict__.setdefault("arenas", {})
    return kept.setdefault(role, [])


def _annotated(target: Target, record: CaseRecord) -> bool:
    return target.class_name in record.classes and target.class_name not in record.not_annotated


def _pair(
    study: Study,
    space: Space,
    folder: Path,
    reference: Segmentation,
    prediction: Segmentation | None,
) -> tuple[Segmentation, Segmentation | None] | None:
    """Reference and prediction in one space; None where a model has no grid of its own."""
    if space == "native":
        return reference, prediction
    if space == "resampled":
        spacing_mm = study.protocol.spacing_mm
        if spacing_mm is None:
            raise BenchError(f"the study `{study.id}` has no grid `resampled`")
        shape, affine = grid_of_spacing(reference.shape, reference.affine, spacing_mm)
        resampled = resample_nearest(reference, shape, affine)
        if prediction is None:
            return resampled, None
        return resampled, resample_nearest(prediction, shape, affine)
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
    if place is None or space != "resampled" or target.study_values is None:
        return place
    # A class with values comes from a label map, which is one layer.
    layer = Part(layer=place.parts[0].layer, values=target.study_values)
    return ClassPlace(kind=place.kind, parts=(layer,))


def _row(
    m: Measuring,
    record: CaseRecord,
    target: Target,
    space: Space,
    spacing_mm: tuple[float, float, float],
    result: ClassScore,
    status: str,
    reason: str,
) -> Row:
    notes = [reason] if reason else []
    if status == "scored" and result.tolerance_mm < max(spacing_mm):
        notes.append("tolerance below the voxel spacing")
    if space == "resampled" and target.study_values is not None:
        values = ", ".join(map(str, target.study_values))
        notes.append(f"the reference's values {values}, as the study `{m.study.id}` counts them")
    return {
        "model": m.model,
        "dataset": m.dataset,
        "case": record.case,
        "patient": record.patient,
        "modality": record.modality,
        "class": target.class_name,
        "kind": target.kind,
        "status": status,
        "reason": "; ".join(notes),
        "dsc": result.dsc,
        "nsd": result.nsd,
        "tolerance_mm": result.tolerance_mm,
        "space": space,
        "spacing_mm": spacing_text(spacing_mm),
        "reference_voxels": result.reference_voxels or 0,
        "prediction_voxels": result.prediction_voxels or 0,
        "intersection_voxels": result.intersection_voxels or 0,
        "surface_reference_total_mm2": result.surface_reference_total_mm2,
        "surface_reference_within_mm2": result.surface_reference_within_mm2,
        "surface_prediction_total_mm2": result.surface_prediction_total_mm2,
        "surface_prediction_within_mm2": result.surface_prediction_within_mm2,
        "implementation": result.implementation,
        "version": result.version,
    }
