"""Do intervals and tests keep their promises? By simulation, printed by the long tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from evaluation.tables.comparison import compare
from evaluation.tables.samples import Sample, reduce_entry
from evaluation.tables.statistics import bootstrap, patient_weights
from evaluation.tables.targets import Universe, dataset_targets, overall_targets

N_SLOTS = (4, 1, 8)
TRUTH = (0.8, 0.6, 0.7)


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


def coverage(sizes: tuple[int, int, int], repeats: int, n_draws: int = 500) -> tuple[float, float]:
    """Share of intervals that hold the truth: one entry's mean (the first), and overall."""
    generator = np.random.default_rng(sum(sizes))
    slots = universe()
    tables = [dataset_targets(slots), overall_targets(slots)[0]]
    truths = np.array([TRUTH[0], np.mean(TRUTH)])
    hits = np.zeros(2)
    total = 0
    for repeat in range(repeats):
        values = draw(generator, sizes, 4)
        weights = patient_weights(values, n_draws, seed=repeat)
        for at, draws in enumerate(bootstrap(values, slots, tables, weights)):
            low, high = draws.interval()
            hits[at] += ((low[0] <= truths[at]) & (truths[at] <= high[0])).sum()
        total += 4
    return tuple(hits / total)


@pytest.mark.long
def test_intervals_cover_the_truth_from_20_patients(say: Callable[[str], object]) -> None:
    say("\npatients an entry   one entry   overall (95 % wanted)")
    for n in (4, 6, 8, 11, 15, 20, 40, 100):
        entry, overall = coverage((n, n, n), repeats=500)
        say(f"{n:19d}   {entry:9.3f}   {overall:7.3f}")
        if n >= 20:
            assert 0.925 <= entry <= 0.975
            assert 0.925 <= overall <= 0.975
    _, mixed = coverage((6, 240, 20), repeats=500)
    say(f"   6, 240, 20 mixed   {'':9s}   {mixed:7.3f}")
    assert 0.92 <= mixed <= 0.975


@pytest.mark.long
def test_tests_keep_their_size(say: Callable[[str], object]) -> None:
    say("\npatients an entry   sign flip: one entry, overall   Wilcoxon: one entry  (5 % wanted)")
    slots = universe()
    tables = [dataset_targets(slots), overall_targets(slots)[0]]
    for n in (11, 14, 20, 60):
        generator = np.random.default_rng(n)
        rejected = []
        for repeat in range(250):
            values = draw(generator, (n, n, n), 4)
            weights = patient_weights(values, 2, seed=repeat)
            entry, overall = (
                compare(values, slots, table, weights, seed=repeat, n_flips=999) for table in tables
            )
            rejected.append(
                [(p < 0.05).mean() for p in (entry.p[0], overall.p[0], entry.p_wilcoxon[0])]
            )
        sizes = np.mean(rejected, axis=0)
        say(f"{n:19d}   {sizes[0]:19.3f}, {sizes[1]:7.3f}   {sizes[2]:19.3f}")
        assert (sizes < 0.075).all()
        assert (sizes > 0.02).all()


def test_the_simulation_itself_in_small() -> None:
    entry, overall = coverage((25, 25, 25), repeats=40, n_draws=300)
    assert 0.85 <= entry <= 1
    assert 0.85 <= overall <= 1
