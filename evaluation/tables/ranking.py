"""Ranks of models in three ways, and how stable they are over bootstraps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from evaluation.tables.comparison import PairTable
from evaluation.tables.samples import Floats, Sample, macro
from evaluation.tables.statistics import bootstrap, tail_share
from evaluation.tables.targets import Targets, Universe

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


def rank(
    method: str,
    values: Sample,
    universe: Universe,
    targets: Targets,
    weights: NDArray[np.float32],
) -> Ranking:
    """Rank the models of every number; a model that lacks values there is not ranked.

    Args:
        method: `mean-then-rank`: rank the macro means, best first. `rank-then-mean`: rank the
            models on every class of every scan, take the macro mean of the ranks, rank that.
            Ties share the mean rank.
        values: the sample, in which the higher value is the better one.
        universe: slots.
        targets: the numbers.
        weights: draws x people, for the stability.
    """
    shape = (len(targets), len(values.models))
    empty = [np.full(shape, np.nan) for _ in range(5)]
    result = Ranking(
        method, empty[0], empty[1], empty[2], empty[3], empty[4], np.full(len(targets), np.nan)
    )
    patterns, of_row = np.unique(values.covers(universe, targets), axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        models = np.flatnonzero(pattern)
        if not len(models):
            continue
        rows = np.flatnonzero(of_row.ravel() == number)
        complete = values.keep(models.tolist(), together=False)
        if method == "rank-then-mean":
            complete = complete.map([_ranks_where_all(e.values) for e in complete.entries])
        sign = 1 if method == "rank-then-mean" else -1
        _rank_complete(result, complete, universe, targets.of(rows), weights, sign, rows, models)
    return result


def by_significance(pairs: PairTable, p_holm: Floats, covered: NDArray[np.bool_]) -> Ranking:
    """Rank by the number of other models that a model beats significantly.

    Args:
        pairs: all pairs of models.
        p_holm: corrected p, numbers x pairs; NaN counts as not significant.
        covered: numbers x models, which models are ranked.
    """
    wins = np.where(covered, 0.0, np.nan)
    for column, (a, b) in enumerate(pairs.pairs):
        proven = (p_holm[:, column] < SIGNIFICANT) & covered[:, a] & covered[:, b]
        wins[:, a] += proven & (pairs.difference[:, column] > 0)
        wins[:, b] += proven & (pairs.difference[:, column] < 0)
    unknown = np.full(wins.shape, np.nan)
    ranks = rankdata(-wins, axis=1, nan_policy="omit")
    no_tau = np.full(len(wins), np.nan)
    return Ranking("significance", wins, ranks, unknown, unknown, unknown, no_tau)


def _ranks_where_all(values: Floats) -> Floats:
    """Ranks over the last axis (1 = best) where every model has a value, else NaN."""
    complete = np.isfinite(values).all(axis=2)
    ranks = np.full(values.shape, np.nan)
    if complete.any():
        ranks[complete] = rankdata(-values[complete], axis=1)
    return ranks


def _rank_complete(
    result: Ranking,
    values: Sample,
    universe: Universe,
    targets: Targets,
    weights: NDArray[np.float32],
    sign: int,
    rows: NDArray[np.intp],
    models: NDArray[np.intp],
) -> None:
    """Fill in the ranks of models that all have the same values."""
    value = macro(values, universe, targets)
    # Equal means may differ in the last bits by the order of summation.
    ranks = rankdata(np.round(sign * value, 12), axis=1)
    replicates = bootstrap(values, universe, [targets], weights)[0]
    drawn = rankdata(sign * replicates.values, axis=2)
    cells = np.ix_(rows, models)
    result.value[cells] = value
    result.rank[cells] = ranks
    # Widened as the intervals of the scores are; a rank hangs on all models, so on the least free.
    last = drawn.shape[1] - 1
    below = np.floor(tail_share(replicates.freedom.min(axis=1)) * last).astype(np.intp)
    ordered, every = np.sort(drawn, axis=1), np.arange(len(drawn))
    result.low[cells], result.high[cells] = ordered[every, below], ordered[every, last - below]
    result.first_share[cells] = (drawn == drawn.min(axis=2, keepdims=True)).mean(axis=1)
    result.kendall_tau[rows] = [
        kendall_tau(one, many).mean() for one, many in zip(ranks, drawn, strict=True)
    ]


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
