"""Measure one shard: predictions and references in, score rows out.

One row for each case x class x kind x space x tolerance. A missing or failed prediction is a row
with a status, never a silently smaller n. A generated class has a `direct` row if the model was
asked for it by name, and a `union` row if it predicted all of the parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from evaluation.cases import (
    CASE_FILE,
    PREDICTION_FILE,
    CaseRecord,
    ClassPlace,
    Segmentation,
    read_prediction,
    read_prediction_record,
    read_reference,
    union_place,
)
from evaluation.config import RunConfig, Space, load_frozen
from evaluation.datasets.card import ClassEntry
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.files import sha256
from evaluation.io import spacing_of
from evaluation.metrics import ClassPair, ClassScore, score_pairs
from evaluation.models.running import read_support
from evaluation.paths import RunPaths
from evaluation.resample import PAPER_SPACING_MM, grid_of_spacing, resample_nearest
from evaluation.schema import SCORES, spacing_text, write_table
from evaluation.workflow.plan import cases_to_predict

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """One thing to score: a class under one kind, with the parts that make it up."""

    class_name: str
    kind: str
    parts: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name under which both segmentations hold it while they are compared."""
        return f"{self.kind}:{self.class_name}"


@dataclass(frozen=True)
class Measuring:
    """What all cases of a shard have in common."""

    paths: RunPaths
    config: RunConfig
    model: str
    dataset: str
    scope: Sequence[ClassEntry]
    support: Mapping[str, str | None]
    status: Mapping[str, tuple[str, str]]


def targets_of(
    scope: Sequence[ClassEntry], support: Mapping[str, str | None]
) -> tuple[list[Target], dict[Target, str]]:
    """What is scored, and what is not, with the reason."""
    scored: list[Target] = []
    unsupported: dict[Target, str] = {}
    for entry in scope:
        direct = support.get(entry.name, "the model does not know this class")
        parts = entry.union_of
        if parts is None:
            target = Target(entry.name, "annotated", (entry.name,))
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


def measure_shard(run: Path, model: str, dataset: str, shard: int, jobs: int = 1) -> Path:
    """Score the test cases of a shard and write `scores/<model>/<dataset>/shards/<k>.parquet`.

    Rows of finished cases are kept in a journal beside the target, so a killed run continues;
    a case is measured again if its prediction or its reference changed.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_card(dataset)
    measuring = Measuring(
        paths=paths,
        config=config,
        model=model,
        dataset=dataset,
        scope=classes_in_scope(card, config),
        support=read_support(paths, model, dataset, shard),
        status=_read_status(paths.prediction_shard(model, dataset, shard)),
    )
    target = paths.score_shard(model, dataset, shard)
    target.parent.mkdir(parents=True, exist_ok=True)
    journal = target.with_suffix(".journal.jsonl")
    done = _read_journal(journal)
    cases = cases_to_predict(paths, config, card, shard)
    keys = {case: _fingerprint(measuring, case) for case in cases}
    todo = [case for case in cases if keys[case] not in done]

    def work(case: str) -> tuple[str, list[Row]]:
        return case, list(measure_case(measuring, case))

    with ThreadPoolExecutor(jobs) as pool, journal.open("a", encoding="utf-8") as stream:
        answers = pool.map(work, todo)
        title = f"measure {model} on {dataset}"
        for case, rows in tqdm(answers, total=len(todo), desc=title, unit="case", disable=None):
            stream.write(json.dumps({"key": keys[case], "rows": rows}) + "\n")
            stream.flush()
            done[keys[case]] = rows
    rows = [row for case in cases for row in done[keys[case]]]
    write_table(target, pd.DataFrame(rows, columns=SCORES.names), SCORES)
    journal.unlink()
    return target


def measure_case(m: Measuring, case: str) -> Iterator[Row]:
    """Score rows of one case."""
    record, reference = read_reference(m.paths.case(m.dataset, case))
    scored, unsupported = targets_of(m.scope, m.support)
    status, reason = m.status.get(case, ("failed", "no status: the prediction step did not run"))
    folder = m.paths.prediction(m.model, m.dataset, case)
    prediction = None
    if status == "ok":
        try:
            prediction = read_prediction(folder)[1]
        except BenchError as error:
            reason = error.one_line
    for space in m.config.space:
        pair = _pair(space, folder, reference, prediction)
        if pair is None:
            continue
        in_space, predicted = pair
        answers = None if predicted is None else predicted.layers
        spacing_mm = spacing_of(in_space.affine)
        for targets, layers in ((scored, answers), (list(unsupported), in_space.layers)):
            pairs = [
                ClassPair(
                    target.key,
                    _place(in_space, target) if _annotated(target, record) else None,
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
                result_status = (
                    "unsupported"
                    if target in unsupported
                    else "prediction_missing"
                    if predicted is None
                    else result.status
                )
                why = unsupported.get(target, reason)
                yield _row(m, record, target, space, spacing_mm, result, result_status, why)


def _annotated(target: Target, record: CaseRecord) -> bool:
    return target.class_name in record.classes and target.class_name not in record.not_annotated


def _pair(
    space: Space, folder: Path, reference: Segmentation, prediction: Segmentation | None
) -> tuple[Segmentation, Segmentation | None] | None:
    """Reference and prediction in one space; None where a model has no grid of its own."""
    if space == "native":
        return reference, prediction
    if space == "resampled":
        shape, affine = grid_of_spacing(reference.shape, reference.affine, PAPER_SPACING_MM)
        resampled = resample_nearest(reference, shape, affine)
        if prediction is None:
            return resampled, None
        return resampled, resample_nearest(prediction, shape, affine)
    if prediction is None or not read_prediction_record(folder).own_n_layers:
        return None
    own = read_prediction(folder, own_grid=True)[1]
    return resample_nearest(reference, own.shape, own.affine), own


def _place(segmentation: Segmentation, target: Target) -> ClassPlace | None:
    """Where a target lives: its own place, or the union of its parts' places."""
    names = target.parts if target.kind == "union" else (target.class_name,)
    known = [segmentation.classes[name] for name in names if name in segmentation.classes]
    if len(known) < len(names):
        return None
    return known[0] if len(known) == 1 else union_place(known, "union")


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
    note = reason if status in ("prediction_missing", "unsupported") else ""
    if status == "scored" and result.tolerance_mm < max(spacing_mm):
        note = "tolerance below the voxel spacing"
    return {
        "model": m.model,
        "dataset": m.dataset,
        "case": record.case,
        "patient": record.patient,
        "modality": record.modality,
        "class": target.class_name,
        "kind": target.kind,
        "status": status,
        "reason": note,
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


def _read_status(path: Path) -> dict[str, tuple[str, str]]:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {
        case: (status, reason)
        for case, status, reason in zip(
            frame["case"], frame["status"], frame["reason"], strict=True
        )
    }


def _fingerprint(m: Measuring, case: str) -> str:
    """Names the inputs and settings of a case's rows."""
    parts = [
        case,
        str(m.status.get(case)),
        m.config.model_dump_json(include={"space", "tolerance_mm"}),
    ]
    files = (
        m.paths.case(m.dataset, case) / CASE_FILE,
        m.paths.prediction(m.model, m.dataset, case) / PREDICTION_FILE,
    )
    parts += [f"{sha256(f)}-{f.stat().st_mtime_ns}" if f.is_file() else "none" for f in files]
    return "|".join(parts)


def _read_journal(path: Path) -> dict[str, list[Row]]:
    done: dict[str, list[Row]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                # A kill in the middle of a line; that case is measured again.
                continue
            done[entry["key"]] = entry["rows"]
    return done
