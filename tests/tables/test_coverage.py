"""Do intervals and tests keep their promises? By simulation, printed by the long tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from evaluation.tables.comparison import patient_contributions, sign_flip
from evaluation.tables.evidence import two_sided
from evaluation.tables.intervals import spread
from evaluation.tables.samples import Sample, macro, reduce_entry
from evaluation.tables.targets import Universe, dataset_targets, overall_targets

N_SLOTS = (4, 1, 8)
TRUTH = (0.8, 0.6, 0.7)
Sizes = tuple[int, int, int]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], object]]:
    """Write a line past pytest's capture: the study's figures are its result."""
    with capsys.disabled():
        yield lambda line: sys.stdout.write(line + "\n")


def universe() -> Universe:
    dataset = np.repeat(["a", "b", "c"], N_SLOTS)
    names = np.array([f"class {i}" for i in range(sum(N_SLOTS))])
    flags = np.ones(len(names), dtype=bool)
    starts = dict(zip("abc", np.cumsum([0, *N_SLOTS[:-1]]).tolist(), strict=True))
    return Universe(dataset, np.full(len(names), "ct"), names, flags, flags, starts)


def draw(generator: np.random.Generator, sizes: tuple[int, int, int], n_models: int) -> Sample:
    """Skewed scores in 0..1; patients, their scans and classes are correlated, a tenth is empty."""
    entries = []
    first = 0
    for name, n, slots, mean in zip("abc", sizes, N_SLOTS, TRUTH, strict=True):
        # A beta distribution with the entry's mean, skewed to the left as Dice scores are.
        patient = generator.beta(mean * 6, (1 - mean) * 6, (n, 1, n_models))
        scans = np.repeat(np.arange(n), 1 + (np.arange(n) % 2))
        noise = generator.normal(0, 0.05, (len(scans), slots, n_models))
        values = patient[scans] + noise
        empty = generator.random(values.shape[:2]) < 0.1
        empty[0] = False
        values[empty] = np.nan
        missing = np.zeros(values.shape[1:], dtype=bool)
        entries.append(reduce_entry(name, np.arange(first, first + n), scans, values, missing))
        first += n
    return Sample(tuple(f"m{i}" for i in range(n_models)), first, tuple(entries))


@dataclass(frozen=True)
class Kept:
    """Shares over the repeats: intervals that hold the truth, tests that reject a true null."""

    mean: float
    difference: float
    rejected: float
    flips: float


def promises(
    sizes: Sizes, repeats: int, table: int, apart: Sequence[float] = (0, 0, 0), n_flips: int = 0
) -> Kept:
    """Intervals and tests of one number against the truth.

    Args:
        sizes: patients of the entries.
        repeats: simulated studies; of four models each, two pairs of which are compared.
        table: 0 = the first entry's mean, 1 = overall.
        apart: by how much the first of a pair is truly better in each entry.
        n_flips: random signs of the sign-flip test; 0 = without.
    """
    generator = np.random.default_rng(sum(sizes))
    slots = universe()
    targets = overall_targets(slots)[0]
    if table == 0:
        targets = dataset_targets(slots).of(np.array([0]))
    truth = (TRUTH[0], np.mean(TRUTH))[table] if not any(apart) else np.nan
    true_gap = (apart[0], np.mean(apart))[table]
    pairs = ((0, 1), (2, 3))
    kept = []
    for _ in range(repeats):
        values = draw(generator, sizes, 4)
        if any(apart):
            by = [np.array([gap, 0, gap, 0]) for gap in apart]
            values = values.map([e.values + add for e, add in zip(values.entries, by, strict=True)])
        low, high = spread(values, slots, targets).interval(0, 1)
        found = spread(values, slots, targets, pairs)
        below, above = found.interval()
        numbers = macro(values, slots, targets)
        p = two_sided(numbers[:, ::2] - numbers[:, 1::2], found.error, found.freedom)
        flips = np.array([np.nan])
        if n_flips:
            parts = patient_contributions(values, slots, targets)[:, 0]
            flips = sign_flip(parts[:, ::2] - parts[:, 1::2], generator, n_flips) < 0.05
        kept.append(
            [
                ((low <= truth) & (truth <= high)).mean(),
                ((below <= true_gap) & (true_gap <= above)).mean(),
                (p < 0.05).mean(),
                flips.mean(),
            ]
        )
    return Kept(*np.mean(kept, axis=0))


UNEQUAL = ((6, 240, 20), (240, 6, 20), (240, 20, 6), (12, 300, 20), (4, 240, 240))


@pytest.mark.long
@pytest.mark.parametrize("sizes", [(n, n, n) for n in (6, 11, 20, 60)] + list(UNEQUAL))
def test_intervals_cover_and_tests_keep_their_level(
    sizes: Sizes, say: Callable[[str], object]
) -> None:
    found = promises(sizes, 3000, table=1)
    say(
        f"\n{sizes}: a mean's interval covers {found.mean:.3f}, a difference's "
        f"{found.difference:.3f}, the test rejects {found.rejected:.3f}"
    )
    # 0.95 and 0.05 within 0.01, and two standard errors of 3000 studies.
    assert found.mean == pytest.approx(0.95, abs=0.01 + 2 * 0.0025)
    assert found.difference == pytest.approx(0.95, abs=0.01 + 2 * 0.0028)
    assert found.rejected == pytest.approx(1 - found.difference, abs=1e-9)


@pytest.mark.long
def test_where_entries_disagree_only_the_sign_flip_is_conservative(
    say: Callable[[str], object],
) -> None:
    apart = (0.2, -0.2, 0.0)
    found = promises((20, 20, 20), 1500, table=1, apart=apart, n_flips=499)
    say(f"\nentries apart by {apart}: test {found.rejected:.3f}, sign flip {found.flips:.3f}")
    assert found.rejected == pytest.approx(0.05, abs=0.018)
    assert found.flips < 0.02


def test_the_simulation_itself_in_small() -> None:
    for table in (0, 1):
        found = promises((6, 60, 20), 150, table)
        assert found.mean == pytest.approx(0.95, abs=0.05)
        assert found.difference == pytest.approx(0.95, abs=0.055)
