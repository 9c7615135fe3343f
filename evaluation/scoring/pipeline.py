"""Measure many cases: what is done is kept in a journal and not done again.

The workflow and `satbench evaluate` measure by this; they differ in how they find their pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import local
from typing import TypeVar

from tqdm import tqdm

from evaluation.scoring.comparing import Comparison, Measuring, compare_case
from evaluation.scoring.journal import CaseRows, Journal
from evaluation.volumes.inflate import Arena

T = TypeVar("T")
R = TypeVar("R")
_memory = local()


def measure_cases(
    keys: Mapping[str, str],
    find_pairs: Callable[[str], Iterable[Comparison]],
    measuring: Measuring,
    journal: Journal,
    jobs: int = 1,
) -> Iterator[tuple[str, Exception]]:
    """Measure what the journal does not know; its rows are in it when this is exhausted.

    Args:
        keys: case -> digest of what its rows are made from.
        find_pairs: the comparisons of a case, each to be taken before the next case is read.
        measuring: what all rows have in common.
        journal: open.
        jobs: cases at once.

    Yields:
        Cases that could not be measured, and why; one bad case does not cost the others.
    """
    todo = [case for case, key in keys.items() if journal.rows_of(key) is None]

    def work(case: str) -> CaseRows | Exception:
        try:
            found = CaseRows([])
            for comparison in find_pairs(case):
                for row, instances in compare_case(comparison, measuring):
                    found.rows.append(row)
                    found.instances.extend(instances)
                found.unnamed.extend(comparison.unnamed)
                if not comparison.lasting:
                    found = replace(found, lasting=False)
            return found
        except Exception as error:
            return error

    title = f"measure {measuring.model} on {measuring.dataset}"
    for case, answer in zip(todo, in_threads(work, todo, jobs, title), strict=True):
        if isinstance(answer, Exception):
            yield case, answer
        else:
            journal.add(keys[case], answer)


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
