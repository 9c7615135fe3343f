"""Bootstraps of the tables' own macro means over patients: how stable ranks are.

The unit is the patient, linked across entries that share scans; patients are drawn within their
entry, so every entry keeps its weight. n - 1 of n patients are drawn and re-weighted (Rao and
Wu), which makes the variance right in entries with few patients; the ends of a rank are taken
where Student's tails are (Hesterberg), with degrees of freedom by Satterthwaite. All draws are
two matrix products: weights x sums over weights x counts.

A draw that holds no scan of a rare class keeps that class's mean: it says nothing about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from evaluation.tables.intervals import LEVEL
from evaluation.tables.samples import Floats, Sample, weights_by_model
from evaluation.tables.targets import Targets, Universe

N_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Replicates:
    """Bootstrapped numbers of one table.

    Args:
        values: numbers x draws x models.
        freedom: degrees of freedom, numbers x models (0 = no variance can be estimated).
    """

    values: NDArray[np.float32]
    freedom: Floats


def patient_weights(
    values: Sample, n_draws: int = N_BOOTSTRAPS, seed: int = 0
) -> NDArray[np.float32]:
    """Weight of each person in each draw, draws x people.

    A person who appears in several entries is drawn once, in the entry with the most patients,
    and carries the weight into the others.
    """
    generator = np.random.default_rng(seed)
    weights = np.ones((n_draws, values.n_people), dtype=np.float32)
    drawn = np.zeros(values.n_people, dtype=bool)
    for entry in sorted(values.entries, key=lambda e: (-len(e.people), e.dataset)):
        people = entry.people[~drawn[entry.people]]
        n = len(people)
        drawn[people] = True
        if n < 2:
            continue
        picks = generator.integers(0, n, size=(n_draws, n - 1))
        picks += np.arange(n_draws)[:, None] * n
        counts = np.bincount(picks.ravel(), minlength=n_draws * n).reshape(n_draws, n)
        weights[:, people] = counts * (n / (n - 1))
    return weights


def bootstrap(
    values: Sample,
    universe: Universe,
    tables: Sequence[Targets],
    weights: NDArray[np.float32],
) -> list[Replicates]:
    """Bootstrapped numbers of several tables from the same draws.

    Args:
        values: the sample.
        universe: slots.
        tables: what to compute.
        weights: draws x people, from `patient_weights`.
    """
    n_draws, n_models = len(weights), len(values.models)
    means = values.slot_means(universe)
    prepared = [weights_by_model(targets, means) for targets in tables]
    results = [np.zeros((len(t), n_draws, n_models), dtype=np.float32) for t in tables]
    variance = [np.zeros((len(t), n_models)) for t in tables]
    spread = [np.zeros((len(t), n_models)) for t in tables]
    for entry in values.entries:
        at = universe.start[entry.dataset]
        block = slice(at, at + entry.values.shape[1])
        drawn = _drawn_means(entry.sums, entry.counts, weights[:, entry.people], means[block])
        seen = entry.counts > 0
        for table, (slot_weights, of_model) in enumerate(prepared):
            for pattern in range(len(slot_weights)):
                models = np.flatnonzero(of_model == pattern)
                local = slot_weights[pattern][:, block]
                rows = np.flatnonzero(local.any(axis=1))
                if not len(rows):
                    continue
                part = _contract(local[rows], drawn[:, :, models])
                cells = np.ix_(rows, models)
                results[table][rows[:, None], :, models] += part.transpose(0, 2, 1)
                own = part.var(axis=1)
                n = _n_people(local[rows] > 0, seen[:, :, models])
                variance[table][cells] += own
                spread[table][cells] += own**2 / np.maximum(n - 1, 1)
    replicates = []
    for table, result in enumerate(results):
        slot_weights, of_model = prepared[table]
        some: NDArray[np.bool_] = np.any(slot_weights, axis=2)
        nothing = ~some[of_model].T
        result.transpose(0, 2, 1)[nothing] = np.nan
        freedom = np.divide(
            variance[table] ** 2,
            spread[table],
            out=np.zeros_like(spread[table]),
            where=spread[table] > 0,
        )
        replicates.append(Replicates(result, freedom))
    return replicates


def _drawn_means(
    sums: Floats, counts: Floats, weights: NDArray[np.float32], means: Floats
) -> NDArray[np.float32]:
    """Slot means of every draw, draws x slots x models."""
    people, slots, models = sums.shape
    total = weights @ sums.reshape(people, -1).astype(np.float32)
    if (counts == counts[:, :, :1]).all():
        n = weights @ counts[:, :, 0].astype(np.float32)
        n = np.repeat(n, models, axis=1)
    else:
        n = weights @ counts.reshape(people, -1).astype(np.float32)
    center = np.nan_to_num(means).ravel().astype(np.float32)
    drawn = np.broadcast_to(center, total.shape).copy()
    np.divide(total, n, out=drawn, where=n > 0)
    return drawn.reshape(-1, slots, models)


def _contract(weights: Floats, drawn: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers x slots times draws x slots x models -> numbers x draws x models."""
    n_draws, slots, models = drawn.shape
    if weights.shape[0] == slots and (weights == np.eye(slots)).all():
        return drawn.transpose(1, 0, 2)
    flat = drawn.transpose(1, 0, 2).reshape(slots, -1)
    product: NDArray[np.float32] = weights.astype(np.float32) @ flat
    return product.reshape(-1, n_draws, models)


def _n_people(member: NDArray[np.bool_], seen: NDArray[np.bool_]) -> Floats:
    """Numbers x models: people with at least one value in a number's slots."""
    people, slots, models = seen.shape
    flat = seen.transpose(1, 0, 2).reshape(slots, -1).astype(np.float32)
    any_value = (member.astype(np.float32) @ flat > 0).reshape(-1, people, models)
    count: Floats = any_value.sum(axis=1).astype(np.float64)
    return count


def tail_share(freedom: Floats, level: float = LEVEL) -> Floats:
    """Share of the draws below a two-sided interval: the normal's share at Student's point."""
    quantile = stdtrit(np.maximum(freedom, 1e-3), (1 - level) / 2)
    return np.asarray(ndtr(quantile), dtype=np.float64)
