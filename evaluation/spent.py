"""What a unit of work took: wall seconds and memory, kept in a file beside what it made.

The workflow's own measurements are of the last job, which may have had nothing to do, or only the
rest of a killed training. A unit's record adds up over its resumes and starts anew with the work.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil
from pydantic import ValidationError

from evaluation.errors import BenchError
from evaluation.files.reading import text_of
from evaluation.files.records import Record
from evaluation.files.writing import write_text

SPENT_FILE = "spent.json"
NOT_MEASURED = float("nan")

Device = Literal["CPU", "GPU"]


class Spent(Record):
    """The record of a unit of work.

    Attributes:
        identity: what the unit is made from; time of another one is not added to.
        seconds: wall time, all resumes together; None where a part was not measured.
        cpu_seconds: the same of the processor: of this process, not of those it starts.
        peak_memory_mib: largest resident memory of a process of this machine (on a GPU, too).
        steps: how far a training is.
        started: when its first part began, ISO 8601; `ended`: when the record was written.
    """

    identity: str
    seconds: float | None
    cpu_seconds: float | None
    peak_memory_mib: float
    device: Device
    steps: int | None = None
    started: str
    ended: str


class Meter:
    """Measures a unit of work from now on.

    Args:
        path: of the record.
        identity: what the unit is made from.
        goes_on: what an earlier call made of it is kept, so its time counts. If that is not
            known, the whole is not.
        on_gpu: None: it is on a GPU if torch has used one in this process.
    """

    def __init__(
        self, path: Path, identity: str, *, goes_on: bool = False, on_gpu: bool | None = None
    ) -> None:
        self._path, self._identity, self._on_gpu = path, identity, on_gpu
        before = read_spent(path) if goes_on else None
        self._before = before if before is not None and before.identity == identity else None
        self._lost = goes_on and (self._before is None or self._before.seconds is None)
        self._begin, self._began = (time.monotonic(), time.process_time()), _now()

    @property
    def seconds(self) -> float | None:
        """Of all parts until now; None where one was not measured."""
        now = time.monotonic() - self._begin[0]
        return self._sum(now, self._before.seconds if self._before else 0.0)

    def _sum(self, now: float, before: float | None) -> float | None:
        return None if self._lost or before is None else round(before + now, 3)

    def write(self, steps: int | None = None) -> None:
        """Write the record; a later call replaces it.

        Before the resume point that it belongs to: then a kill between the two counts the time of
        lost steps, and never loses the time of kept ones.
        """
        on_gpu = _uses_gpu() if self._on_gpu is None else self._on_gpu
        before, peak = self._before, peak_memory_mib()
        spent = Spent(
            identity=self._identity,
            seconds=self.seconds,
            cpu_seconds=self._sum(
                time.process_time() - self._begin[1], before.cpu_seconds if before else 0.0
            ),
            peak_memory_mib=round(max(peak, before.peak_memory_mib) if before else peak, 1),
            device="GPU" if on_gpu else "CPU",
            steps=steps,
            started=before.started if before else self._began,
            ended=_now(),
        )
        write_text(self._path, spent.model_dump_json(indent=1) + "\n")


def read_spent(path: Path) -> Spent | None:
    """The record of a unit; None if it has none that can be read: it was not measured."""
    try:
        return Spent.model_validate_json(text_of(path))
    except (OSError, BenchError, ValidationError):
        return None


@dataclass(frozen=True)
class MeasuredWork:
    """What a step of a model took on an entry; NaN and "" where it was not measured.

    Attributes:
        step: `prepare`, `train` or `predict`.
        dataset: the entry; "" for all of them together.
        seconds: wall time of all units of work.
        peak_memory_mib: the largest of them.
        device: `CPU` or `GPU`.
        case_seconds: of the single cases, where they are the units.
    """

    step: str
    dataset: str
    seconds: float
    peak_memory_mib: float = NOT_MEASURED
    device: str = ""
    case_seconds: Sequence[float] = ()


def measured_training(dataset: str, path: Path) -> MeasuredWork:
    """A training's work by its record."""
    spent = read_spent(path)
    if spent is None:
        return MeasuredWork("train", dataset, NOT_MEASURED)
    seconds = NOT_MEASURED if spent.seconds is None else spent.seconds
    return MeasuredWork("train", dataset, seconds, spent.peak_memory_mib, spent.device)


def measured_preparation(
    store: Path, read_cases: Callable[[Path], Mapping[str, Sequence[str]]]
) -> list[MeasuredWork]:
    """The work of preparing each entry in a store, `<entry>/<case>/`, by the records of its cases.

    Args:
        store: the folder.
        read_cases: gives the cases of each entry in it; a `BenchError` says that it is not whole,
            as where it was deleted after the training.
    """
    try:
        cases = read_cases(store)
    except BenchError:
        return [MeasuredWork("prepare", "", NOT_MEASURED)]
    return [_preparation(dataset, store / dataset, names) for dataset, names in cases.items()]


def _preparation(dataset: str, folder: Path, cases: Sequence[str]) -> MeasuredWork:
    found = [read_spent(folder / case / SPENT_FILE) for case in cases]
    seconds = [NOT_MEASURED if s is None or s.seconds is None else s.seconds for s in found]
    return MeasuredWork(
        "prepare",
        dataset,
        math.fsum(seconds) if seconds else NOT_MEASURED,
        max((s.peak_memory_mib for s in found if s is not None), default=NOT_MEASURED),
        "CPU",
        seconds,
    )


def peak_memory_mib() -> float:
    """Largest resident memory so far of this process, or of one that it started and waited for.

    On Windows, which does not count those that it started, of this process.
    """
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    # Kilobytes on Linux, bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / unit


def _uses_gpu() -> bool:
    """Whether torch, if it is there at all, has work on a GPU in this process."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
