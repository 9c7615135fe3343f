"""How the cases of an entry are divided into shards, and which of them are predicted.

A shard is the work of one job. Shards are planned without opening any data.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.splits import SplitRow, planned_cases, read_split_file, split_rule
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study


def n_shards(card: DatasetCard, config: RunConfig) -> int:
    """Number of shards of an entry: from its planned list, else from the expected count."""
    planned = planned_cases(card, config)
    n_cases = len(planned) if planned is not None else card.expected_cases
    return max(1, ceil(n_cases / config.shard_size))


def shard_cases(
    card: DatasetCard, config: RunConfig, shard: int, discovered: Sequence[str]
) -> list[str]:
    """Case ids of a shard: position in the planned list modulo the number of shards.

    Entries without a list use the position among the discovered cases (sorted): planned from the
    expected count, their shards are larger or smaller where more or fewer cases are there.

    Raises:
        BenchError: no such shard.
    """
    shards = n_shards(card, config)
    _require_one_of(shards, shard, card)
    planned = planned_cases(card, config)
    if planned is None:
        return [case for i, case in enumerate(sorted(discovered)) if i % shards == shard]
    listed = [row.case for row in planned]
    known = set(listed)
    extra = sorted(case for case in discovered if case not in known)
    return [case for i, case in enumerate([*listed, *extra]) if i % shards == shard]


def read_split(paths: RunPaths, dataset: str) -> list[SplitRow]:
    """The effective split of a run.

    Raises:
        BenchError: the run has none yet.
    """
    path = paths.split(dataset)
    if not path.is_file():
        raise BenchError(
            f"`{dataset}` is not split yet in this run",
            file=path,
            hint=f"`satbench split --run {paths.root} --dataset {dataset}`, or the workflow",
        )
    return read_split_file(path)


def cases_to_predict(
    paths: RunPaths, config: RunConfig, card: DatasetCard, shard: int
) -> list[str]:
    """Test cases of a shard: position among the run's test cases modulo the number of shards.

    Raises:
        BenchError: no such shard, or the run has no split of the entry yet.
    """
    shards = n_test_shards(card, config)
    _require_one_of(shards, shard, card)
    tests = [row.case for row in read_split(paths, card.id) if row.split == "test"]
    return [case for i, case in enumerate(tests) if i % shards == shard]


def _require_one_of(shards: int, shard: int, card: DatasetCard) -> None:
    if not 0 <= shard < shards:
        raise BenchError(
            f"`{card.id}` has no such shard", found=shard, expected=f"0 to {shards - 1}",
            hint="the size of shards is `shard_size` in the configuration",
        )  # fmt: skip


def n_test_shards(card: DatasetCard, config: RunConfig) -> int:
    """Number of shards of the test cases: planned from the list, else from the rule's count."""
    planned = planned_cases(card, config)
    if planned is None:
        n_cases = split_rule(card, find_study(config.study)).test
    else:
        n_cases = sum(row.split == "test" for row in planned)
    return max(1, ceil(n_cases / config.shard_size))
