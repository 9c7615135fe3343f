"""Run a model over one shard of test cases: resumable per case, a status for each.

A model sees images, never labels. What it cannot do is recorded, not hidden: `failed` with its
reason, `unsupported` where it covers no class of the entry.
"""

from __future__ import annotations

import csv
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from evaluation.cases import (
    ImageCase,
    Prediction,
    read_image_case,
    read_prediction_record,
    write_prediction,
)
from evaluation.config import load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError
from evaluation.files import atomic_path, visible, write_json
from evaluation.models.adapters import build_model
from evaluation.models.protocol import BatchModel, Model
from evaluation.paths import RunPaths
from evaluation.workflow.plan import cases_to_predict

log = logging.getLogger(__name__)

STATUS_COLUMNS = ("case", "status", "reason", "seconds")


@dataclass(frozen=True)
class CaseStatus:
    """What became of one case: `ok`, `failed` or `unsupported`."""

    case: str
    status: str
    reason: str = ""
    seconds: float = 0.0


def predict_shard(run: Path, model_id: str, dataset: str, shard: int) -> Path:
    """Predict the test cases of a shard and write its status table.

    A case whose `prediction.json` is there is not predicted again. A case that could not be
    standardised has no image: it becomes `failed` for every model alike.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_card(dataset)
    cases, status = _readable_cases(paths, dataset, cases_to_predict(paths, config, card, shard))
    target = paths.prediction_shard(model_id, dataset, shard)
    seconds_before = _previous_seconds(target)
    model = build_model(model_id, paths, config)
    support = model.classes(dataset)
    write_json(_support_path(target), support)
    wanted = [c.name for c in classes_in_scope(card, config)]
    supported = [name for name in wanted if name in support and support[name] is None]
    if not supported:
        reason = next((r for r in support.values() if r), "the model covers no class of this entry")
        status += [CaseStatus(case.case, "unsupported", reason) for case in cases]
        _write_status(target, status)
        return target
    todo = []
    for case in cases:
        if _is_predicted(paths.prediction(model_id, dataset, case.case)):
            status.append(CaseStatus(case.case, "ok", seconds=seconds_before.get(case.case, 0.0)))
        else:
            todo.append(case)
    progress = tqdm(total=len(todo), desc=f"{model_id} on {dataset}", unit="case", disable=None)
    for case, answer, seconds in _answers(model, todo, supported):
        status.append(_keep(paths, model_id, case, answer, seconds))
        progress.update()
    progress.close()
    _write_status(target, status)
    return target


def _is_predicted(folder: Path) -> bool:
    """Whether a whole prediction is there; a damaged record means predicting again."""
    try:
        read_prediction_record(folder)
    except BenchError:
        return False
    return True


def _readable_cases(
    paths: RunPaths, dataset: str, names: Sequence[str]
) -> tuple[list[ImageCase], list[CaseStatus]]:
    cases, status = [], []
    for name in names:
        try:
            cases.append(read_image_case(paths.case(dataset, name)))
        except BenchError as error:
            status.append(CaseStatus(name, "failed", f"not standardised: {error.one_line}"))
    return cases, status


def _answers(
    model: Model | BatchModel, cases: Sequence[ImageCase], classes: Sequence[str]
) -> Iterator[tuple[ImageCase, Prediction | Exception, float]]:
    if not cases:
        return
    if isinstance(model, BatchModel):
        yield from model.predict_all(cases, classes)
        return
    for case in cases:
        start = time.perf_counter()
        answer: Prediction | Exception
        try:
            answer = model.predict(case, classes)
        except Exception as error:
            # Whatever a model raises is that case's status; the other cases go on.
            log.warning("%s failed on %s", case.dataset, case.case, exc_info=True)
            answer = error
        yield case, answer, time.perf_counter() - start


def _keep(
    paths: RunPaths, model_id: str, case: ImageCase, answer: Prediction | Exception, seconds: float
) -> CaseStatus:
    folder = paths.prediction(model_id, case.dataset, case.case)
    if isinstance(answer, Prediction):
        found = answer.segmentation.shape
        if found == case.shape:
            write_prediction(folder, model_id, case, answer)
            return CaseStatus(case.case, "ok", seconds=seconds)
        answer = BenchError("prediction has another shape", found=found, expected=case.shape)
    shutil.rmtree(folder, ignore_errors=True)
    reason = (
        answer.one_line
        if isinstance(answer, BenchError)
        else f"{type(answer).__name__}: {' '.join(str(answer).split())}"
    )
    return CaseStatus(case.case, "failed", reason[:500], seconds)


def _support_path(shard_status: Path) -> Path:
    return shard_status.with_suffix(".support.json")


def read_support(paths: RunPaths, model_id: str, dataset: str, shard: int) -> dict[str, str | None]:
    """For each class what the model said: None if supported, otherwise why not."""
    path = _support_path(paths.prediction_shard(model_id, dataset, shard))
    support: dict[str, str | None] = json.loads(path.read_text(encoding="utf-8"))
    return support


def _previous_seconds(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    frame = pd.read_csv(path, dtype={"case": str})
    return dict(zip(frame["case"], frame["seconds"].astype(float), strict=True))


def _write_status(path: Path, status: Sequence[CaseStatus]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(STATUS_COLUMNS)
        for row in sorted(status, key=lambda s: s.case):
            writer.writerow([row.case, row.status, row.reason, f"{row.seconds:.3f}"])


def join_status(run: Path, model_id: str, dataset: str) -> Path:
    """Join the shards' status tables into `status.csv`."""
    paths = RunPaths(run)
    target = paths.prediction_status(model_id, dataset)
    shards = [
        p
        for p in visible(paths.prediction_shard(model_id, dataset, 0).parent, "*.csv")
        if p.stem.isdigit()
    ]
    frame = pd.concat([pd.read_csv(p, dtype=str, keep_default_na=False) for p in shards])
    with atomic_path(target) as temporary:
        frame.to_csv(temporary, index=False)
    return target
