"""Standardise the cases of one shard: parallel, resumable, one bad case never stops the others."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from tqdm import tqdm

from evaluation.cases import CASE_FILE, CaseRecord
from evaluation.classes.entry import ClassEntry
from evaluation.config import load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers import discover, get_reader
from evaluation.datasets.readers.base import RawCase
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import shard_cases
from evaluation.datasets.standardise import (
    kept_case,
    patient_of,
    remove_case,
    standardise_case,
)
from evaluation.errors import BenchError
from evaluation.files.identity import is_outdated, made_again
from evaluation.files.reading import rows_of
from evaluation.files.writing import FULL, TEMPORARY_PREFIX, write_text
from evaluation.paths import RunPaths

Status = Literal["ok", "failed", "excluded"]
COLUMNS = ("case", "patient", "sequence", "status", "reason", "image", "labels")


@dataclass(frozen=True)
class StandardisedCase:
    """What became of one case; `image` and `labels` are digests of a usable one."""

    case: str
    patient: str
    sequence: str
    status: Status
    reason: str = ""
    image: str = ""
    labels: str = ""


@dataclass(frozen=True)
class _Task:
    card: DatasetCard
    raw: RawCase
    scope: tuple[ClassEntry, ...]
    folder: Path
    again: bool


def standardise_shard(
    run: Path, dataset: str, shard: int, wanted: Sequence[str] | None = None, jobs: int = 1
) -> Path:
    """Standardise the cases of a shard and write what became of each.

    Cases that are whole and made from what lies there now stay as they are, so a killed job goes
    on where it stopped.

    Args:
        run: the run's folder.
        dataset: the entry's id.
        shard: which shard; it names the table that is written.
        wanted: case ids of the shard; by default those that the run's plan gives it.
        jobs: cases at once. Each holds one scan and its layers in memory.

    Returns:
        The table's path; it holds the digests of image and labels, so that what hangs on a case
        sees by the table alone that its content is another one.

    Raises:
        BenchError: no raw data, or the disk is full.
    """
    config, paths, card = load_frozen(run), RunPaths(run), find_card(dataset)
    discovered = {raw.case: raw for raw in discover(card, Path(config.raw_root))}
    if wanted is None:
        wanted = shard_cases(card, config, shard, sorted(discovered))
    scope = tuple(classes_in_scope(card, config))
    table = paths.case_shard(card.id, shard)
    _clear_leftovers(paths.case(card.id, "x").parent, wanted)
    rows: dict[str, StandardisedCase] = {}
    tasks: list[_Task] = []
    for case in wanted:
        if case in card.exclude:
            remove_case(paths.case(card.id, case))
            rows[case] = _row(card, case, None, "excluded", card.exclude[case])
        elif case not in discovered:
            reason = f"not found under {Path(config.raw_root, card.folder)}"
            if alike := [name for name in discovered if name.lower() == case.lower()]:
                reason += f"; `{alike[0]}` differs in upper and lower case: rename its files"
            rows[case] = _row(card, case, None, "failed", reason)
        else:
            record = paths.case(card.id, case) / CASE_FILE
            again = record.is_file() and is_outdated(record, table)
            tasks.append(_Task(card, discovered[case], scope, record.parent, again))
    progress = tqdm(total=len(tasks), desc=f"standardise {card.id}", unit="case", disable=None)
    with progress:
        for row in _outcomes(tasks, jobs):
            rows[row.case] = row
            progress.update()
    write_rows(table, [rows[case] for case in wanted])
    made_again(table)
    return table


def write_rows(path: Path, rows: Sequence[StandardisedCase]) -> None:
    """Write the table of a shard atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[StandardisedCase]:
    """Read the table of a shard."""
    rows = rows_of(path, COLUMNS, named="case")
    return [StandardisedCase(**row) for row in rows]  # type: ignore[arg-type]


def _outcomes(tasks: Sequence[_Task], jobs: int) -> Iterator[StandardisedCase]:
    if jobs == 1 or len(tasks) < 2:
        yield from map(_standardise, tasks)
        return
    alone: list[_Task] = []
    with ProcessPoolExecutor(min(jobs, len(tasks))) as pool, _no_more_if_stopped(pool):
        waiting: dict[Future[StandardisedCase], _Task] = {
            pool.submit(_standardise, t): t for t in tasks
        }
        for future in as_completed(waiting):
            try:
                yield future.result()
            except BrokenProcessPool:
                alone.append(waiting[future])
    # A worker was killed, most often for want of memory, and took all that waited with it: each
    # gets a process of its own, so the guilty one fails and the others go on.
    for task in alone:
        with ProcessPoolExecutor(1) as pool:
            try:
                yield pool.submit(_standardise, task).result()
            except BrokenProcessPool:
                reason = "its process was killed; it may need more memory than there is"
                yield _row(task.card, task.raw.case, task.raw.sequence, "failed", reason)


@contextmanager
def _no_more_if_stopped(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Whoever ends the block early does not wait for what has not begun."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _standardise(task: _Task) -> StandardisedCase:
    card, raw = task.card, task.raw
    try:
        record = None if task.again else kept_case(card, raw, task.scope, task.folder)
        if record is None:
            remove_case(task.folder)
            record = standardise_case(card, get_reader(card), raw, task.scope, task.folder)
        return _row(card, raw.case, raw.sequence, "ok", record=record)
    except BenchError as error:
        return _row(card, raw.case, raw.sequence, "failed", error.one_line)
    except OSError as error:
        if error.errno in FULL:
            raise BenchError(
                "the disk is full",
                file=task.folder,
                hint="make room and run the same command again; whole cases are kept",
            ) from error
        return _row(card, raw.case, raw.sequence, "failed", f"{type(error).__name__}: {error}")
    except Exception as error:
        return _row(card, raw.case, raw.sequence, "failed", f"{type(error).__name__}: {error}")


def _row(
    card: DatasetCard,
    case: str,
    sequence: str | None,
    status: Status,
    reason: str = "",
    record: CaseRecord | None = None,
) -> StandardisedCase:
    try:
        patient = patient_of(card, case)
    except BenchError:
        patient = ""
    content = ("", "") if record is None else (record.image, record.labels)
    return StandardisedCase(
        case,
        patient,
        card.sequence_of(case, sequence) or "",
        status,
        " ".join(reason.split()),
        *content,
    )


def _clear_leftovers(folder: Path, cases: Sequence[str]) -> None:
    """Remove what a killed process left of these cases; those of living ones stay."""
    ours = set(cases)
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        match = re.fullmatch(re.escape(TEMPORARY_PREFIX) + r"(\d+)-(.+)", leftover.name)
        if match and match[2] in ours and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(leftover, ignore_errors=True)
