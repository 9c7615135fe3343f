"""Ranks of models in three ways, and how stable they are over bootstraps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from evaluation.comparison import PairTable
from evaluation.samples import Floats, Sample, macro
from evaluation.statistics import bootstrap
from evaluation.targets import Targets, Universe

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Ranking:
    """Ranks by one method; arrays are numbers x models (NaN = not ranked).

    `kendall_tau` is one value for each number: the mean agreement of the bootstrapped rankings
    with this one.
    """

    method: str
    value: Floats
    rank: Floats
    low: Floats
    high: Floats
    first_share: Floats
    kendall_tau: Floats


def mean_then_rank(
    values: Sample, universe: Universe, targets: Targets, weights: NDArray[np.float32]
) -> Ranking:
    """Rank the macro means, best first; ties share the mean rank."""
    return _ranking("mean-then-rank", values, universe, targets, weights, sign=-1)


def rank_then_mean(
    values: Sample, universe: Universe, targets: Targets, weights: NDArray[np.float32]
) -> Ranking:
    """Rank the models on every class of every scan, take the macro mean of ranks, rank that."""
    ranked = [_ranks_where_all(entry.values) for entry in values.entries]
    return _ranking("rank-then-mean", values.map(ranked), universe, targets, weights, sign=1)


def by_significance(pairs: PairTable, p_holm: Floats) -> Ranking:
    """Rank by the number of other models that a model beats significantly.

    Args:
        pairs: all pairs of models.
        p_holm: corrected p, numbers x pairs; NaN counts as not significant.
    """
    n_numbers, n_models = len(pairs.difference), len(pairs.models)
    wins = np.zeros((n_numbers, n_models))
    for column, (a, b) in enumerate(pairs.pairs):
        proven = p_holm[:, column] < SIGNIFICANT
        wins[:, a] += proven & (pairs.difference[:, column] > 0)
        wins[:, b] += proven & (pairs.difference[:, column] < 0)
    unknown = np.full((n_numbers, n_models), np.nan)
    return Ranking(
        "significance",
        wins,
        rankdata(-wins, axis=1),
        unknown,
        unknown,
        unknown,
        np.full(n_numbers, np.nan),
    )


def _ranks_where_all(values: Floats) -> Floats:
    """Ranks over the last axis (1 = best) where every model has a value, else NaN."""
    complete = np.isfinite(values).all(axis=2)
    ranks = np.full(values.shape, np.nan)
    if complete.any():
        ranks[complete] = rankdata(-values[complete], axis=1)
    return ranks


def _ranking(
    method: str,
    values: Sample,
    universe: Universe,
    targets: Targets,
    weights: NDArray[np.float32],
    sign: int,
) -> Ranking:
    value = macro(values, universe, targets)
    known = np.isfinite(value).all(axis=1)
    rank = np.full(value.shape, np.nan)
    low, high, first = rank.copy(), rank.copy(), rank.copy()
    tau = np.full(len(value), np.nan)
    if known.any():
        rank[known] = rankdata(np.round(sign * value[known], 12), axis=1)
        draws = bootstrap(values, universe, [targets], weights)[0].values[known]
        drawn = rankdata(sign * draws, axis=2)
        low[known], high[known] = np.percentile(drawn, (2.5, 97.5), axis=1, method="nearest")
        first[known] = (drawn == drawn.min(axis=2, keepdims=True)).mean(axis=1)
        tau[known] = [
            kendall_tau(rank[row], sample).mean()
            for row, sample in zip(np.flatnonzero(known), drawn, strict=True)
        ]
    return Ranking(method, value, rank, low, high, first, tau)


def kendall_tau(ranking: Floats, others: Floats) -> Floats:
    """Agreement (tau-a) of one ranking with many: mean product of the signs of all pairs.

    Args:
        ranking: ranks of the models.
        others: rankings x models.

    Returns:
        One value for each of the others, -1..1; 1 if there is only one model.
    """
    others = np.atleast_2d(others)
    i, j = np.triu_indices(len(ranking), 1)
    if not len(i):
        return np.ones(len(others))
    signs = np.sign(others[:, i] - others[:, j])
    agreement: Floats = (signs * np.sign(ranking[i] - ranking[j])).mean(axis=1)
    return agreement
