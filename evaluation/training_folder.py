"""What the folder of a training needs, whichever library trains: one writer, and a log by steps."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from evaluation.errors import BenchError
from evaluation.files import TEMPORARY_PREFIX, atomic_path

LOCK_FILE = ".lock"
LOCK_WAIT_SECONDS = 60.0


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


def kept_rows(path: Path, first: int) -> list[dict[str, str]]:
    """Rows of a log (CSV with a column `step`) before a step.

    A resumed training appends to them, so that its log has every step once.
    """
    if first == 0 or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if int(row["step"]) < first]


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a log as CSV, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
