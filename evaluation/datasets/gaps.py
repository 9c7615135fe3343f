"""Planned cases without a usable image: how many a run lacks, which, and why.

What is expected of a run is what its plan lists, not what could be read: a test set must not
shrink in silence. Cases that a card excludes are not expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.sharding import n_shards
from evaluation.datasets.shards import StandardisedCase, read_rows
from evaluation.datasets.splits import planned_cases, split_rule
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study

N_EXAMPLES = 5


@dataclass(frozen=True)
class Gap:
    """What one entry of a run lacks on one or both sides of its split.

    Args:
        expected: number of planned cases.
        lacking: how many of them are not usable.
        reasons: case -> why, as far as they are known by name.
        side: `test`, or empty for both sides.
    """

    expected: int
    lacking: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    side: str = ""

    @property
    def words(self) -> str:
        """One sentence with the first few reasons; empty if nothing is lacking."""
        if not self.lacking:
            return ""
        few = [f"{case}: {why}" for case, why in list(self.reasons.items())[:N_EXAMPLES]]
        if len(self.reasons) > N_EXAMPLES:
            few.append(f"{len(self.reasons) - N_EXAMPLES} more")
        named = "; ".join(few) or "the raw data hold fewer cases than the card expects"
        side = f"{self.side} " if self.side else ""
        return (
            f"{self.lacking} of {self.expected} planned {side}cases have no usable image: {named}"
        )


def case_rows(paths: RunPaths, config: RunConfig, card: DatasetCard) -> list[StandardisedCase]:
    """What became of an entry's cases, from the tables of its shards; empty if there is none.

    By plan: tables beyond it are of an earlier `shard_size`.
    """
    if not paths.case_shard(card.id, 0).parent.is_dir():  # scores that were brought in
        return []
    tables = [paths.case_shard(card.id, shard) for shard in range(n_shards(card, config))]
    return [row for table in tables if table.is_file() for row in read_rows(table)]


def planned_tests(card: DatasetCard, config: RunConfig) -> int:
    """Number of test cases that the plan lists, or the card counts where there is no list."""
    planned = planned_cases(card, config)
    if planned is None:
        return split_rule(card, find_study(config.study)).test
    return sum(row.split == "test" and row.case not in card.exclude for row in planned)


def find_gap(
    card: DatasetCard,
    config: RunConfig,
    rows: Sequence[StandardisedCase],
    sides: Mapping[str, str],
    side: str = "",
) -> Gap:
    """What is planned of an entry and not usable.

    Args:
        card: the entry.
        config: of the run.
        rows: as from `case_rows`.
        sides: case -> its side in the effective split.
        side: look at this side only; empty: at all.
    """
    failed = {row.case: row.reason for row in rows if row.status == "failed"}
    there = [case for case, found in sides.items() if side in ("", found)]
    planned = planned_cases(card, config)
    if planned is not None:
        wanted = [r.case for r in planned if side in ("", r.split) and r.case not in card.exclude]
        lacking = [case for case in wanted if case not in sides]
        reasons = {case: failed.get(case, "not among the standardised cases") for case in lacking}
        return Gap(max(len(wanted), len(there)), len(lacking), reasons, side)
    # Without a list nobody knows the side of a case that was never read: the counts say how many
    # are lacking in all, and at most so many are lacking on one side.
    rule = split_rule(card, find_study(config.study))
    counts = rule.sides
    wanted_in_all = sum(counts.values()) - sum(row.status == "excluded" for row in rows)
    lacking_in_all = max(wanted_in_all - len(sides), len(failed))
    n_lacking = max(0, lacking_in_all)
    if side:
        n_lacking = max(0, min(n_lacking, counts[side] - len(there)))
    return Gap(len(there) + n_lacking, n_lacking, failed if n_lacking else {}, side)
