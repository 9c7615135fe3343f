"""Values that enter the means: one metric under one policy, view and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.metric import Metric
from evaluation.tables.grid import EntryGrid, ScoreGrid
from evaluation.tables.policies import ABSENT, CODE, is_missing, never_measured, policy_values
from evaluation.tables.targets import Targets, Universe

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EntrySample:
    """Values of one entry, reduced to patients.

    Args:
        dataset: entry id.
        people: people (numbers of the grid) in the entry, ascending.
        values: cases x slots x models, NaN = not scored.
        person: position in `people` of each case.
        sums: people x slots x models, sum over a patient's scans.
        counts: the same, number of scans.
        missing: slots x models, number of scans that would be scored and have no prediction.
    """

    dataset: str
    people: NDArray[np.int64]
    values: Floats
    person: NDArray[np.int64]
    sums: Floats
    counts: Floats
    missing: NDArray[np.int64]

    @property
    def slot_means(self) -> Floats:
        """Slots x models, mean over scans; NaN where nothing is scored."""
        total, n = self.sums.sum(axis=0), self.counts.sum(axis=0)
        means: Floats = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
        return means


@dataclass(frozen=True)
class Sample:
    """Values of all entries."""

    models: tuple[str, ...]
    n_people: int
    entries: tuple[EntrySample, ...]

    def slot_means(self, universe: Universe) -> Floats:
        """All slots of the universe x models; NaN where nothing is scored."""
        means = np.full((len(universe), len(self.models)), np.nan)
        for entry in self.entries:
            at = universe.start[entry.dataset]
            means[at : at + entry.values.shape[1]] = entry.slot_means
        return means

    def keep(self, models: Sequence[int], *, together: bool) -> Sample:
        """Only some models; `together` keeps only the values that all of them have."""
        entries = []
        for entry in self.entries:
            values = entry.values[:, :, list(models)]
            if together:
                values = np.where(np.isfinite(values).all(axis=2, keepdims=True), values, np.nan)
            missing = entry.missing[:, list(models)]
            entries.append(reduce_entry(entry.dataset, entry.people, entry.person, values, missing))
        return Sample(tuple(self.models[m] for m in models), self.n_people, tuple(entries))

    def map(self, values: Sequence[Floats]) -> Sample:
        """The same scans and models with other values (ranks instead of scores)."""
        entries = [
            reduce_entry(entry.dataset, entry.people, entry.person, new, entry.missing)
            for entry, new in zip(self.entries, values, strict=True)
        ]
        return Sample(self.models, self.n_people, tuple(entries))

    def covers(self, universe: Universe, targets: Targets) -> NDArray[np.bool_]:
        """Numbers x models: the model has every value that any model has, by a prediction."""
        lacks = np.zeros((len(universe), len(self.models)), dtype=bool)
        some = np.zeros(len(universe), dtype=bool)
        for entry in self.entries:
            at = universe.start[entry.dataset]
            block = slice(at, at + entry.values.shape[1])
            finite = np.isfinite(entry.values)
            lacks[block] = (finite.any(axis=2, keepdims=True) & ~finite).any(axis=0)
            lacks[block] |= entry.missing > 0
            some[block] = finite.any(axis=(0, 2))
        lacking = np.asarray(targets.member[:, :, None] & lacks).max(axis=1)
        known = np.asarray(targets.member & some).max(axis=1)
        result: NDArray[np.bool_] = ~lacking & known[:, None]
        return result

    def scores_as(self, other: Sample) -> bool:
        """Whether another sample of the same grid scores exactly the same pairs."""
        return all(
            (np.isfinite(one.values) == np.isfinite(two.values)).all()
            and (one.missing == two.missing).all()
            for one, two in zip(self.entries, other.entries, strict=True)
        )

    @property
    def same_scans(self) -> bool:
        """Whether all models have values for exactly the same scans and classes."""
        for entry in self.entries:
            finite = np.isfinite(entry.values)
            if not (finite == finite[:, :, :1]).all():
                return False
        return True


def reduce_entry(
    dataset: str,
    people: NDArray[np.int64],
    person: NDArray[np.int64],
    values: Floats,
    missing: NDArray[np.int64],
) -> EntrySample:
    """Sum values over each patient's scans."""
    finite = np.isfinite(values)
    order = np.argsort(person, kind="stable")
    starts = np.searchsorted(person[order], np.arange(len(people)))
    sums = np.add.reduceat(np.where(finite, values, 0.0)[order], starts, axis=0)
    counts = np.add.reduceat(finite[order], starts, axis=0, dtype=np.float64)
    return EntrySample(dataset, people, values, person, sums, counts, missing)


def entry_values(
    entry: EntryGrid, metric: Metric, policy: str, view: str, coverage: str
) -> tuple[Floats, NDArray[np.bool_]]:
    """Values of one entry, cases x slots x models, NaN = not scored, and what lacks a prediction.

    The second array marks pairs that would be scored if there were one: their value is what the
    metric's record says.
    """
    reference = entry.reference_voxels[:, :, None]
    values = policy_values(
        metric,
        entry.values[metric.id],
        entry.status,
        reference,
        entry.prediction_voxels,
        policy,
        entry.field_mm[:, None, None],
        unsupported_zero=coverage == "zero",
    )
    missing = is_missing(entry.status, reference, policy)
    left_out = np.zeros(values.shape, dtype=bool)
    left_out[:, :, never_measured(entry.values[metric.id], entry.status)] = True
    if coverage == "common":
        unsupported = (entry.status == CODE["unsupported"]) | (entry.status == ABSENT)
        left_out |= unsupported.any(axis=2, keepdims=True)
    if view == "clean":
        left_out[~entry.in_clean] = True
    values[left_out] = np.nan
    if metric.missing is None:
        # Measured as an empty answer, or not at all.
        missing &= np.isfinite(values)
    return values, missing & ~left_out


def sample(
    grid: ScoreGrid, metric: Metric, policy: str, view: str = "paper", coverage: str = "supported"
) -> Sample:
    """Values of a whole grid under one policy, view and coverage."""
    entries = []
    for entry in grid.entries:
        people, person = np.unique(entry.person, return_inverse=True)
        values, missing = entry_values(entry, metric, policy, view, coverage)
        lost = missing.sum(axis=0)
        entries.append(reduce_entry(entry.dataset, people, person.ravel(), values, lost))
    return Sample(grid.models, len(grid.people), tuple(entries))


def weights_by_model(targets: Targets, slot_means: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Weights of the slots for each distinct pattern of slots that models have.

    Returns:
        patterns x numbers x slots, and the pattern of each model.
    """
    present = np.isfinite(slot_means)
    patterns, of_model = np.unique(present, axis=1, return_inverse=True)
    weights = np.stack([targets.weights(pattern) for pattern in patterns.T])
    return weights, of_model.ravel()


def macro(values: Sample, universe: Universe, targets: Targets) -> Floats:
    """The table's numbers: numbers x models, NaN where nothing is scored."""
    means = values.slot_means(universe)
    weights, of_model = weights_by_model(targets, means)
    filled = np.nan_to_num(means)
    result = np.empty((len(targets), len(values.models)))
    for model, pattern in enumerate(of_model):
        result[:, model] = weights[pattern] @ filled[:, model]
        result[~weights[pattern].any(axis=1), model] = np.nan
    return result
