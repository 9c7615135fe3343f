"""Tables that decide: pairs of models, ranks, and whether a choice of ours changes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.aggregate import Setting, settings_of, with_clean
from evaluation.comparison import MIN_PATIENTS, N_FLIPS, TOO_SMALL, PairTable, compare, holm
from evaluation.grid import Grid
from evaluation.ranking import Ranking, by_significance, rank
from evaluation.samples import Sample, sample
from evaluation.schema import METRICS, PAIRS, RANKS
from evaluation.scores import Expected
from evaluation.statistics import N_BOOTSTRAPS, patient_weights
from evaluation.targets import (
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
    frames: dict[str, list[pd.DataFrame]] = {"pairs": [], "ranks": []}
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
                pairs = _pair_frame(grid, setting, scope, metric, table)
                pairs["p_holm"] = corrected[at].ravel()
                pairs["p_wilcoxon_holm"] = corrected_wilcoxon[at].ravel()
                pairs["n_family"] = n_family
                frames["pairs"].append(pairs.loc[pairs["n_patients"] > 0, PAIRS.names])
                values = samples[metric]
                rankings = [
                    rank("mean-then-rank", values, universe, scope.targets, weights),
                    rank("rank-then-mean", values, universe, scope.targets, weights),
                    by_significance(table, corrected[at], values.covers(universe, scope.targets)),
                ]
                for ranking in rankings:
                    frames["ranks"].append(
                        _rank_frame(grid, setting, scope, metric, ranking, values, universe)
                    )
    return {
        "pairs": with_clean(grid, frames["pairs"]) if frames["pairs"] else PAIRS.empty(),
        "ranks": with_clean(grid, frames["ranks"]) if frames["ranks"] else RANKS.empty(),
    }


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


def _pair_frame(
    grid: Grid, setting: Setting, scope: Scope, metric: str, table: PairTable
) -> pd.DataFrame:
    n_pairs = len(table.pairs)
    frame = pd.DataFrame(
        {
            "key": np.repeat(np.array(scope.keys, dtype=str), n_pairs),
            "model_a": [table.models[a] for a, _ in table.pairs] * len(scope.keys),
            "model_b": [table.models[b] for _, b in table.pairs] * len(scope.keys),
        }
    ).assign(**_head(grid, setting, scope, metric))
    for name in ("difference", "low", "high", "effect_size", "win_share", "p", "p_wilcoxon"):
        frame[name] = getattr(table, name).ravel()
    frame["n_patients"] = table.n_patients.ravel()
    frame["n_scores"] = table.n_scores.ravel()
    frame["family"] = f"{scope.name}: all pairs of models, dsc and nsd"
    frame["note"] = np.where(frame["n_patients"] < MIN_PATIENTS, TOO_SMALL, "")
    return frame


def _rank_frame(
    grid: Grid,
    setting: Setting,
    scope: Scope,
    metric: str,
    ranking: Ranking,
    values: Sample,
    universe: Universe,
) -> pd.DataFrame:
    n_models = len(values.models)
    covered = values.covers(universe, scope.targets)
    n_scores, n_patients = _sizes(values, universe, scope.targets)
    frame = pd.DataFrame(
        {
            "key": np.repeat(np.array(scope.keys, dtype=str), n_models),
            "model": list(values.models) * len(scope.keys),
            "rank": ranking.rank.ravel(),
            "rank_low": ranking.low.ravel(),
            "rank_high": ranking.high.ravel(),
            "first_share": ranking.first_share.ravel(),
            "value": ranking.value.ravel(),
            "kendall_tau": np.repeat(ranking.kendall_tau, n_models),
            "n_models": np.repeat(covered.sum(axis=1), n_models),
            "n_patients": np.repeat(n_patients, n_models),
            "n_scores": np.repeat(n_scores, n_models),
            "complete": covered.ravel(),
        }
    ).assign(method=ranking.method, **_head(grid, setting, scope, metric))
    return frame.loc[frame["n_scores"] > 0, RANKS.names]


def _sizes(
    values: Sample, universe: Universe, targets: Targets
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], ...]:
    """Class x scan pairs and patients with a value of any model, one for each number."""
    n_scores = np.zeros(len(targets), dtype=np.int64)
    people = np.zeros((len(targets), values.n_people), dtype=bool)
    for entry in values.entries:
        at = universe.start[entry.dataset]
        member = targets.member[:, at : at + entry.values.shape[1]]
        n_scores += member @ np.isfinite(entry.values).any(axis=2).sum(axis=0)
        seen = (entry.counts > 0).any(axis=2)
        people[:, entry.people] |= member @ seen.T
    return n_scores, people.sum(axis=1)
