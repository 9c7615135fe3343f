"""What the folder of a training needs, whichever library trains: a writer, resuming, a log."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from evaluation.errors import BenchError
from evaluation.files.identity import is_outdated
from evaluation.files.reading import rows_of
from evaluation.files.writing import TEMPORARY_PREFIX, atomic_path

LOCK_FILE = ".lock"
LOCK_WAIT_SECONDS = 60.0
_log = logging.getLogger(__name__)


@contextmanager
def only_writer(work: Path, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Hold the folder's lock, so that two trainings never write one folder, and clean it.

    An orphan of a killed workflow may still be finishing, hence the wait. Half-written files of
    a killed training are removed once the lock is held.

    Raises:
        BenchError: another process holds it for longer than an orphan needs to finish.
    """
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / LOCK_FILE)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise BenchError(
            "another training is writing this folder",
            file=work,
            hint="wait for it, or end it (it may be left over from a killed workflow), then "
            "start again; nothing is lost",
        ) from error
    try:
        for leftover in work.glob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def resume_content(
    path: Path,
    identity: str,
    read: Callable[[Path], dict[str, Any]],
    output: Path,
    *,
    warn: bool = True,
) -> dict[str, Any] | None:
    """The content of a resume point, unless there is none that fits: then a training starts anew.

    Args:
        path: the file; its content has the key `identity`.
        identity: hash of the data and settings of the training that wants to go on.
        read: reads the file; a `BenchError` says that it is damaged.
        output: what the training ends with; if it is to be made again (`identity.ask_again`), an
            older resume point does not count.
        warn: say why an existing file is not used.
    """
    if not path.is_file() or is_outdated(path, output):
        return None
    try:
        content = read(path)
    except BenchError as error:
        reason = error.one_line
    else:
        if content.get("identity") == identity:
            return content
        reason = f"{path} is of other data or settings"
    if warn:
        _log.warning("starting from step 0: %s", reason)
    return None


def step_bar(steps: range, total: int, title: str, *, shown: bool) -> tqdm[int]:
    """The steps of a training with a progress bar; in a log file a line every 20 seconds."""
    return tqdm(
        steps, initial=steps.start, total=total, desc=title, unit="step",
        disable=not shown, mininterval=0.5 if sys.stderr.isatty() else 20,
    )  # fmt: skip


def kept_rows(path: Path, first: int) -> list[dict[str, str]]:
    """Rows of a log (CSV with a column `step`) before a step.

    A resumed training appends to them, so that its log has every step once.

    Raises:
        BenchError: the log is damaged.
    """
    if first == 0 or not path.is_file():
        return []
    try:
        return [row for row in rows_of(path) if int(row["step"]) < first]
    except (BenchError, KeyError, ValueError) as error:
        raise BenchError(
            "the log of a training is damaged", file=path, found=error,
            hint="delete it: the training goes on, and its log begins where it goes on",
        ) from error  # fmt: skip


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a log as CSV, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
