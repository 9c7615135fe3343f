"""Measure many cases: what is done is kept in a journal and not done again.

The workflow and `satbench evaluate` measure by this; they differ in how they find their pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import local
from typing import TypeVar

from tqdm import tqdm

from evaluation.scoring.comparing import Comparison, Measuring, compare_case
from evaluation.scoring.journal import CaseRows, Journal
from evaluation.volumes.inflate import Arena

T = TypeVar("T")
R = TypeVar("R")
_memory = local()


@dataclass(frozen=True)
class ModelCases:
    """What is to be measured of one model on one entry.

    Args:
        keys: case -> digest of what its rows are made from.
        find_pairs: the comparisons of a case, each to be taken before the next case is read.
        measuring: what all rows have in common.
        journal: open.
    """

    keys: Mapping[str, str]
    find_pairs: Callable[[str], Iterable[Comparison]]
    measuring: Measuring
    journal: Journal

    def lacks(self, case: str) -> bool:
        """Whether the case is asked for and not in the journal."""
        return case in self.keys and self.journal.rows_of(self.keys[case]) is None


def measure_cases(
    models: Sequence[ModelCases], jobs: int = 1
) -> Iterator[tuple[ModelCases, str, Exception]]:
    """Measure what the journals do not know; its rows are in them when this is exhausted.

    Case by case, all models of a case in one thread, so that what they share is read once
    (`read_once`).

    Args:
        models: of one entry.
        jobs: cases at once.

    Yields:
        Cases that could not be measured, of which model, and why; one bad case does not cost the
        others.
    """
    every = dict.fromkeys(case for asked in models for case in asked.keys)
    todo = {case: [asked for asked in models if asked.lacks(case)] for case in every}
    todo = {case: lacking for case, lacking in todo.items() if lacking}

    def work(case: str) -> list[CaseRows | Exception]:
        return [_measured(asked, case) for asked in todo[case]]

    names = ", ".join(asked.measuring.model for asked in models)
    title = f"measure {names} on {models[0].measuring.dataset}"
    for case, answers in zip(todo, in_threads(work, list(todo), jobs, title), strict=True):
        for asked, answer in zip(todo[case], answers, strict=True):
            if isinstance(answer, Exception):
                yield asked, case, answer
            else:
                asked.journal.add(asked.keys[case], answer)


def _measured(asked: ModelCases, case: str) -> CaseRows | Exception:
    try:
        found = CaseRows([])
        for comparison in asked.find_pairs(case):
            for row, instances in compare_case(comparison, asked.measuring):
                found.rows.append(row)
                found.instances.extend(instances)
            found.unnamed.extend(comparison.unnamed)
            if not comparison.lasting:
                found = replace(found, lasting=False)
        return found
    except Exception as error:
        return error


def in_threads(work: Callable[[T], R], items: Sequence[T], jobs: int, title: str) -> Iterator[R]:
    """Results in order, with a progress bar; threads suffice because the work frees the GIL."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield from tqdm(
            pool.map(work, items), total=len(items), desc=title, unit="case", disable=None
        )
    finally:
        pool.shutdown(cancel_futures=True)


def thread_memory(role: str) -> list[Arena]:
    """This thread's memory for the layers of one side: fresh memory costs as much as a sweep."""
    kept: dict[str, list[Arena]] = _memory.__dict__.setdefault("arenas", {})
    return kept.setdefault(role, [Arena()])


def read_once(key: object, read: Callable[[], T]) -> T:
    """What this thread read last for the same key, or else reads now.

    Only the last one is kept: the next one may use its memory.

    Args:
        key: says what is read, by equality.
        read: reads it.
    """
    last: tuple[object, T] | None = _memory.__dict__.pop("last", None)
    if last is None or last[0] != key:
        last = key, read()
    _memory.last = last
    return last[1]
