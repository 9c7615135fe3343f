"""Tables that decide: pairs of models, ranks, and whether a choice of ours changes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.schema import METRICS, TABLES
from evaluation.tables.comparison import (
    LEANS_OTHER_WAY,
    N_FLIPS,
    PairTable,
    compare,
    holm,
    size_note,
)
from evaluation.tables.grid import Grid
from evaluation.tables.ranking import Ranking, by_significance, rank
from evaluation.tables.samples import Floats, Sample, sample
from evaluation.tables.scores import Expected
from evaluation.tables.settings import Block, Setting, block_of, settings_of, with_clean
from evaluation.tables.statistics import N_BOOTSTRAPS, patient_weights
from evaluation.tables.targets import (
    Targets,
    Universe,
    dataset_targets,
    overall_targets,
    region_targets,
    universe_of,
)


@dataclass(frozen=True)
class Scope:
    """What is compared: one number, one for each entry, or one for each region."""

    name: str
    targets: Targets
    keys: list[str]


def scopes_of(universe: Universe) -> list[Scope]:
    """Overall (mean over entries of mean over classes), every entry, every region."""
    datasets = dataset_targets(universe)
    regions = region_targets(universe)
    headline = (regions.keys["scheme"] == "anatomical") & (regions.keys["composition"] == "all")
    anatomical = regions.of(np.flatnonzero(headline))
    return [
        Scope("overall", overall_targets(universe)[0], ["all"]),
        Scope("dataset", datasets, datasets.keys["dataset"].tolist()),
        Scope("region", anatomical, anatomical.keys["region"].tolist()),
    ]


def decide(
    grid: Grid,
    expected: Expected,
    n_draws: int = N_BOOTSTRAPS,
    n_flips: int = N_FLIPS,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """The tables `pairs` and `ranks` of one grid."""
    universe = universe_of(grid, expected)
    scopes = scopes_of(universe)
    blocks: dict[str, list[Block]] = {"pairs": [], "ranks": []}
    weights = None
    for setting in settings_of(grid):
        samples = {
            metric: sample(grid, metric, setting.policy, setting.view, setting.coverage)
            for metric in METRICS
        }
        if weights is None:
            weights = patient_weights(samples["dsc"], n_draws, seed)
        for scope in scopes:
            compared = {
                metric: compare(values, universe, scope.targets, weights, seed, n_flips)
                for metric, values in samples.items()
            }
            # One family for each printed table: all of its rows, both metrics.
            corrected = holm(np.stack([t.p for t in compared.values()]))
            corrected_wilcoxon = holm(np.stack([t.p_wilcoxon for t in compared.values()]))
            n_family = int(np.isfinite(corrected).sum())
            for at, (metric, table) in enumerate(compared.items()):
                holms = (corrected[at], corrected_wilcoxon[at], n_family)
                blocks["pairs"].append(_pair_block(grid, setting, scope, metric, table, holms))
                values = samples[metric]
                basis = _compared(values, universe, scope.targets)
                rankings = [
                    rank("mean-then-rank", values, universe, scope.targets, weights),
                    rank("rank-then-mean", values, universe, scope.targets, weights),
                    by_significance(table, corrected[at], basis.covered),
                ]
                blocks["ranks"] += [
                    _rank_block(grid, setting, scope, metric, ranking, basis)
                    for ranking in rankings
                ]
    return {name: with_clean(grid, parts, TABLES[name]) for name, parts in blocks.items()}


def _head(grid: Grid, setting: Setting, scope: Scope, metric: str) -> dict[str, Any]:
    return {
        "data_kind": grid.data_kind,
        "policy": setting.policy,
        "space": grid.space,
        "tolerance_mm": grid.tolerance_mm,
        "view": setting.view,
        "coverage": setting.coverage,
        "scope": scope.name,
        "metric": metric,
    }


def _pair_block(
    grid: Grid,
    setting: Setting,
    scope: Scope,
    metric: str,
    table: PairTable,
    corrected: tuple[Floats, Floats, int],
) -> Block:
    n_pairs = len(table.pairs)
    names = np.array(table.models, dtype=object)
    first = [a for a, _ in table.pairs]
    second = [b for _, b in table.pairs]
    n_patients = table.n_patients.ravel()
    against = np.sign(np.round(table.difference, 12)) * np.sign(table.win_share - 0.5) < 0
    columns = {
        **_head(grid, setting, scope, metric),
        "key": np.repeat(np.array(scope.keys, dtype=object), n_pairs),
        "model_a": np.tile(names[first], len(scope.keys)),
        "model_b": np.tile(names[second], len(scope.keys)),
        "p_holm": corrected[0].ravel(),
        "p_wilcoxon_holm": corrected[1].ravel(),
        "n_family": corrected[2],
        "family": f"{scope.name}: all pairs of models, dsc and nsd",
        "note": size_note(n_patients),
        "reason": np.where(against.ravel(), LEANS_OTHER_WAY, ""),
    }
    same = ("difference", "low", "high", "effect_size", "win_share", "p", "p_wilcoxon")
    for name in (*same, "n_patients", "n_scores"):
        columns[name] = getattr(table, name).ravel()
    return block_of(columns, n_pairs * len(scope.keys), n_patients > 0)


def _rank_block(
    grid: Grid,
    setting: Setting,
    scope: Scope,
    metric: str,
    ranking: Ranking,
    compared: Compared,
) -> Block:
    n_models = len(grid.models)
    n_scores = np.repeat(compared.n_scores, n_models)
    columns = {
        **_head(grid, setting, scope, metric),
        "method": ranking.method,
        "key": np.repeat(np.array(scope.keys, dtype=object), n_models),
        "model": np.tile(np.array(grid.models, dtype=object), len(scope.keys)),
        "rank": ranking.rank.ravel(),
        "rank_low": ranking.low.ravel(),
        "rank_high": ranking.high.ravel(),
        "first_share": ranking.first_share.ravel(),
        "value": ranking.value.ravel(),
        "kendall_tau": np.repeat(ranking.kendall_tau, n_models),
        "n_models": np.repeat(compared.covered.sum(axis=1), n_models),
        "n_patients": np.repeat(compared.n_patients, n_models),
        "n_scores": n_scores,
        "complete": compared.covered.ravel(),
        "note": np.repeat(size_note(compared.n_patients), n_models),
    }
    return block_of(columns, n_models * len(scope.keys), n_scores > 0)


@dataclass(frozen=True)
class Compared:
    """What a scope's comparison rests on: by number, and which models have all of it."""

    covered: NDArray[np.bool_]
    n_scores: NDArray[np.int64]
    n_patients: NDArray[np.int64]


def _compared(values: Sample, universe: Universe, targets: Targets) -> Compared:
    n_scores = np.zeros(len(targets), dtype=np.int64)
    people = np.zeros((len(targets), values.n_people), dtype=bool)
    for entry in values.entries:
        at = universe.start[entry.dataset]
        member = targets.member[:, at : at + entry.values.shape[1]]
        n_scores += member @ np.isfinite(entry.values).any(axis=2).sum(axis=0)
        seen = (entry.counts > 0).any(axis=2)
        people[:, entry.people] |= member @ seen.T
    return Compared(values.covers(universe, targets), n_scores, people.sum(axis=1))
