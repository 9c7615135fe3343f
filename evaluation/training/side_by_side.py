"""Work on many cases in several processes, answers in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import starmap
from multiprocessing import get_context
from typing import TypeVar

from evaluation.errors import BenchError

R = TypeVar("R")


def in_processes(
    work: Callable[..., R], tasks: Sequence[tuple[object, ...]], jobs: int
) -> Iterator[R]:
    """What `work` answers to each task, one process for each of `jobs`; one alone works here.

    Raises:
        BenchError: a process was killed. What `work` raises is raised when its answer is due, and
            tasks that have not begun are dropped.
    """
    if jobs == 1 or len(tasks) < 2:
        yield from starmap(work, tasks)
        return
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=get_context("spawn"))
    try:
        yield from pool.map(work, *zip(*tasks, strict=True))
    except BrokenProcessPool as error:
        raise BenchError(
            "a process that prepares a case was killed",
            hint="it may want more memory than there is: with fewer threads fewer cases are "
            "prepared at once; what is done is kept",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
