"""Run a model over one shard of test cases: a status for each, and only what is new is predicted.

A model sees images, never labels. What it cannot do is recorded, not hidden: `failed` with its
reason, `unsupported` where it covers no class of the entry. A prediction is kept as long as it
would be made from the same image, model and classes; a case that failed is tried again.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evaluation.cases import (
    PREDICTION_FILE,
    ImageCase,
    PredictionRecord,
    read_image_case,
    read_prediction_record,
    write_prediction,
)
from evaluation.config import load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import cases_to_predict, n_test_shards
from evaluation.errors import BenchError
from evaluation.files.identity import is_outdated, made_again
from evaluation.files.progress import Progress
from evaluation.files.reading import rows_of, text_of
from evaluation.files.sums import discard
from evaluation.files.writing import atomic_path, write_json
from evaluation.models.adapters import build_model
from evaluation.models.asking import answers_of
from evaluation.models.card import ModelCard, find_model
from evaluation.models.crashes import CrashBook
from evaluation.models.gate import checked_answer, checked_classes
from evaluation.models.identity import prediction_made_from
from evaluation.paths import RunPaths
from evaluation.spent import Meter

STATUS_COLUMNS = ("case", "status", "reason", "seconds", "made_from", "masks")
NOT_STANDARDISED = "not standardised: "


@dataclass(frozen=True)
class PredictionStatus:
    """What became of one case: `ok`, `failed` or `unsupported`.

    `seconds` is what predicting it took; `made_from` and `masks` are the prediction's digests.
    """

    case: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    made_from: str = ""
    masks: str = ""

    @property
    def failed_by_model(self) -> bool:
        """Whether the model is at fault, not the data."""
        return self.status == "failed" and not self.reason.startswith(NOT_STANDARDISED)


def predict_shard(run: Path, model_id: str, dataset: str, shard: int) -> Path:
    """Predict the test cases of a shard and write its status table.

    A case that could not be standardised has no image: it becomes `failed` for every model alike.

    Raises:
        BenchError: the model cannot be built or asked, or it failed on every case it was given;
            the status table is written then, too.
    """
    paths, config = RunPaths(run), load_frozen(run)
    entry, card = find_card(dataset), find_model(model_id)
    target = paths.prediction_shard(model_id, dataset, shard)
    cases, status = _readable_cases(paths, dataset, cases_to_predict(paths, config, entry, shard))
    model = build_model(model_id, paths, config)
    wanted = [c.name for c in classes_in_scope(entry, config)]
    said = checked_classes(model.classes(dataset), entry)
    support = {**dict.fromkeys(wanted, "the model does not know this class"), **said}
    write_json(_support_path(target), support)
    supported = [name for name in wanted if support[name] is None]
    if not supported:
        reason = next((r for r in said.values() if r), "the model covers no class of this entry")
        status += [PredictionStatus(case.case, "unsupported", reason) for case in cases]
        _write_status(target, status)
        made_again(target)
        return target
    made_from = {c.case: prediction_made_from(card, model, c, supported) for c in cases}
    todo, crashes = [], CrashBook(target)
    crashed = crashes.crashed()
    for case in cases:
        folder = paths.prediction(model_id, dataset, case.case)
        if (kept := _kept(folder, made_from[case.case], target)) is not None:
            status.append(_ok(kept))
        elif case.case in crashed:
            discard(folder)
            reason = f"the model crashed its process: {crashed[case.case]}"
            status.append(PredictionStatus(case.case, "failed", reason))
        else:
            todo.append(case)
    meter = _meter(paths, card, dataset, shard, goes_on=len(todo) < len(cases))
    shown = Progress(f"{model_id} on {dataset}", len(todo), kept=len(cases) - len(todo))
    with shown as progress, crashes.open() as asks:
        for case, answer, seconds in answers_of(model, todo, supported, asks):
            answered = _Answer(answer, seconds, made_from[case.case])
            status.append(_keep(paths, model_id, case, answered, supported))
            progress.done(case.case, seconds, "failed" if status[-1].status == "failed" else "")
    if todo:
        meter.write()
    _write_status(target, status)
    crashes.forget()
    made_again(target)
    _require_one(model_id, dataset, status, target)
    _failed_path(target).unlink(missing_ok=True)
    return target


def _kept(folder: Path, made_from: str, target: Path) -> PredictionRecord | None:
    """The record of a whole prediction that would be made the same way; None: predict."""
    try:
        record = read_prediction_record(folder)
    except BenchError:
        return None
    same = record.made_from == made_from and not is_outdated(folder / PREDICTION_FILE, target)
    return record if same else None


def _ok(record: PredictionRecord) -> PredictionStatus:
    return PredictionStatus(record.case, "ok", "", record.seconds, record.made_from, record.masks)


def _require_one(
    model_id: str, dataset: str, status: Sequence[PredictionStatus], target: Path
) -> None:
    failed = [row for row in status if row.failed_by_model]
    if failed and not any(row.status == "ok" for row in status):
        # Snakemake deletes the table of a job that failed.
        _write_status(_failed_path(target), status)
        raise BenchError(
            f"`{model_id}` failed on all {len(failed)} cases of `{dataset}` that it was given",
            file=target,
            found=f"{failed[0].case}: {failed[0].reason}",
            hint="mend the model and run the same command again, or take it out of `models:`",
        )


def _meter(paths: RunPaths, card: ModelCard, dataset: str, shard: int, *, goes_on: bool) -> Meter:
    # A program of the user's runs where its card says; of other models, torch knows.
    on_gpu = card.gpu if card.adapter.kind == "command" else None
    path = paths.prediction_spent(card.id, dataset, shard)
    return Meter(path, "", goes_on=goes_on, on_gpu=on_gpu)


def _readable_cases(
    paths: RunPaths, dataset: str, names: Sequence[str]
) -> tuple[list[ImageCase], list[PredictionStatus]]:
    cases, status = [], []
    for name in names:
        try:
            cases.append(read_image_case(paths.case(dataset, name)))
        except BenchError as error:
            status.append(PredictionStatus(name, "failed", NOT_STANDARDISED + error.one_line))
    return cases, status


@dataclass(frozen=True)
class _Answer:
    """What a model gave for a case (anything), how long it took, and what it was made from."""

    content: object
    seconds: float
    made_from: str


def _keep(
    paths: RunPaths, model_id: str, case: ImageCase, found: _Answer, classes: Sequence[str]
) -> PredictionStatus:
    folder = paths.prediction(model_id, case.dataset, case.case)
    answer, seconds = found.content, found.seconds
    if not isinstance(answer, Exception):
        try:
            checked = checked_answer(case, answer, classes)
            made_from = found.made_from
            record = write_prediction(
                folder, model_id, case, checked, made_from=made_from, seconds=seconds
            )
            return _ok(record)
        except BenchError as error:
            answer = error
    discard(folder)
    reason = (
        answer.one_line
        if isinstance(answer, BenchError)
        else f"{type(answer).__name__}: {' '.join(str(answer).split())}"
    )
    return PredictionStatus(case.case, "failed", reason[:500], seconds)


def _failed_path(shard_status: Path) -> Path:
    return shard_status.with_name(f".failed-{shard_status.name}")


def _support_path(shard_status: Path) -> Path:
    return shard_status.with_suffix(".support.json")


def read_support(
    paths: RunPaths, model_id: str, dataset: str, shard: int, names: Sequence[str]
) -> dict[str, str | None]:
    """For each class what the model said: None if supported, otherwise why not.

    Raises:
        BenchError: the file is damaged, or says nothing of one of `names`, the run's classes.
    """
    path = _support_path(paths.prediction_shard(model_id, dataset, shard))
    try:
        support = TypeAdapter(dict[str, str | None]).validate_json(text_of(path))
        if lacking := [name for name in names if name not in support]:
            raise ValueError(f"nothing of {', '.join(lacking)}")
    except ValueError as error:
        raise BenchError(
            "file is damaged: it does not say which classes the model supports", file=path,
            found=None if isinstance(error, ValidationError) else error,
            hint=f"delete {path.parent} and run snakemake again; predictions are kept",
        ) from error  # fmt: skip
    return support


def read_status(path: Path) -> list[PredictionStatus]:
    """The status table of a shard or of an entry.

    Raises:
        BenchError: it is not there, or damaged.
    """
    if not path.is_file():
        raise BenchError(
            "these cases are not predicted yet",
            file=path,
            hint="run `satbench predict` on this shard first; the workflow does so",
        )
    rows = rows_of(path, STATUS_COLUMNS, named="case")
    try:
        return [PredictionStatus(**{**row, "seconds": float(row["seconds"])}) for row in rows]  # type: ignore[arg-type]
    except ValueError as error:
        raise BenchError(
            "file is damaged: no number of seconds", file=path, found=error,
            hint="delete it and run snakemake again, which makes it",
        ) from error  # fmt: skip


def _write_status(path: Path, status: Sequence[PredictionStatus]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(STATUS_COLUMNS)
        for row in sorted(status, key=lambda s: s.case):
            cells = {**row.__dict__, "seconds": f"{row.seconds:.3f}"}
            writer.writerow([cells[column] for column in STATUS_COLUMNS])


def status_shards(run: Path, model_id: str, dataset: str) -> list[Path]:
    """The status tables of a model's shards on an entry, by plan; some may not be there yet."""
    paths, config = RunPaths(run), load_frozen(run)
    shards = range(n_test_shards(find_card(dataset), config))
    return [paths.prediction_shard(model_id, dataset, shard) for shard in shards]


def join_status(run: Path, model_id: str, dataset: str) -> Path | None:
    """Join the shards' status tables into `status.csv`; as it was while some are not there.

    Raises:
        BenchError: a shard's table is damaged.
    """
    target = RunPaths(run).prediction_status(model_id, dataset)
    shards = status_shards(run, model_id, dataset)
    if all(path.is_file() for path in shards):
        _write_status(target, [row for path in shards for row in read_status(path)])
    return target if target.is_file() else None


def failures(run: Path, models: Sequence[str], datasets: Sequence[str]) -> list[str]:
    """A line for each model and entry with cases that the model failed on.

    The status tables of such shards are taken away: what is not there is predicted when the
    workflow runs again. `status.csv` keeps what happened.
    """
    lines = []
    for model in models:
        for dataset in datasets:
            n_cases, failed = 0, list[PredictionStatus]()
            for path in status_shards(run, model, dataset):
                tables = [p for p in (path, _failed_path(path)) if p.is_file()]
                rows = read_status(tables[0]) if tables else []
                bad = [row for row in rows if row.failed_by_model]
                n_cases += len(rows)
                failed += bad
                if bad:
                    discard(path)
            if failed:
                lines.append(
                    f"{model} on {dataset}: {len(failed)} of {n_cases} cases failed, they are "
                    f"tried again when it runs again: {failed[0].case}: {failed[0].reason}"
                )
    return lines
