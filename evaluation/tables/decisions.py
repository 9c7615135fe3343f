"""Tables that decide: pairs of models and ranks, by every metric that has a better side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.metrics.metric import Metric
from evaluation.protocol import HEADLINE, UNRANKED
from evaluation.schema import PAIRS, RANKS
from evaluation.tables.comparison import (
    LEANS_OTHER_WAY,
    N_FLIPS,
    PairTable,
    compare,
    holm,
    size_note,
)
from evaluation.tables.evidence import (
    equivalent_within,
    false_order,
    patients_needed,
    smallest_shown,
)
from evaluation.tables.grid import ScoreGrid
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
    named = regions.keys["scheme"].eq(HEADLINE.scheme)
    ours = regions.of(np.flatnonzero(named & regions.keys["composition"].eq(HEADLINE.composition)))
    return [
        Scope("overall", overall_targets(universe)[0], ["all"]),
        Scope("dataset", datasets, datasets.keys["dataset"].tolist()),
        Scope("region", ours, ours.keys["region"].tolist()),
    ]


def decide(
    grids: Sequence[ScoreGrid],
    expected: Expected,
    n_draws: int = N_BOOTSTRAPS,
    n_flips: int = N_FLIPS,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """The tables `pairs` and `ranks`; a metric without a better side is in neither.

    Args:
        grids: as from `build_grids`; those of `UNRANKED` spaces decide nothing.
        expected: what the run should hold.
        n_draws: bootstraps.
        n_flips: random signs of a test.
        seed: of both.
    """
    grids = [grid for grid in grids if grid.space not in UNRANKED]
    contests = [c for grid in grids for c in _contests(grid, expected, n_draws, n_flips, seed)]
    # One family for each printed table: all of its rows, metrics and tolerances.
    families: dict[tuple[str, Setting, str], list[_Contest]] = {}
    for contest in contests:
        printed = (contest.grid.space, contest.setting, contest.scope.name)
        families.setdefault(printed, []).append(contest)
    corrections: dict[int, _Corrected] = {}
    for family in families.values():
        tables = [contest.table for contest in family]
        corrected = _holm([t.p for t in tables]), _holm([t.p_wilcoxon for t in tables])
        n_family = sum(int(np.isfinite(p).sum()) for p in corrected[0])
        for contest, p, p_wilcoxon in zip(family, *corrected, strict=True):
            corrections[id(contest)] = _Corrected(p, p_wilcoxon, n_family)
    pairs, ranks = [], []
    for grid in grids:
        own = [(c, corrections[id(c)]) for c in contests if c.grid is grid]
        pairs.append(with_clean(grid, [_pair_block(*each) for each in own], PAIRS))
        blocks = [block for each in own for block in _rank_blocks(*each)]
        ranks.append(with_clean(grid, blocks, RANKS))
    if not grids:
        return {"pairs": PAIRS.empty(), "ranks": RANKS.empty()}
    return {
        "pairs": pd.concat(pairs, ignore_index=True),
        "ranks": pd.concat(ranks, ignore_index=True),
    }


@dataclass(frozen=True)
class _Contest:
    """All models compared by one metric, on every number of a scope in one reading."""

    grid: ScoreGrid
    setting: Setting
    scope: Scope
    metric: Metric
    table: PairTable
    rankings: tuple[Ranking, ...]
    basis: _Basis


@dataclass(frozen=True)
class _Basis:
    """What a scope's comparison rests on: by number, and which models have all of it."""

    covered: NDArray[np.bool_]
    n_scores: NDArray[np.int64]
    n_patients: NDArray[np.int64]


@dataclass(frozen=True)
class _Corrected:
    """Holm-corrected p of a contest's pairs, and the number of tests corrected together."""

    p: Floats
    p_wilcoxon: Floats
    n_family: int


def _contests(
    grid: ScoreGrid, expected: Expected, n_draws: int, n_flips: int, seed: int
) -> Iterator[_Contest]:
    universe = universe_of(grid, expected)
    scopes = scopes_of(universe)
    weights = None
    for setting in settings_of(grid):
        for metric in grid.metrics:
            if not metric.ranked:
                continue
            values = sample(grid, metric, setting.policy, setting.view, setting.coverage)
            if metric.sign < 0:
                # From here on the higher value is the better one.
                values = values.map([-entry.values for entry in values.entries])
            if weights is None:
                weights = patient_weights(values, n_draws, seed)
            for scope in scopes:
                table = compare(values, universe, scope.targets, seed, n_flips)
                rankings = tuple(
                    rank(method, values, universe, scope.targets, weights)
                    for method in ("mean-then-rank", "rank-then-mean")
                )
                basis = _basis(values, universe, scope.targets)
                yield _Contest(grid, setting, scope, metric, table, rankings, basis)


def _holm(tables: Sequence[Floats]) -> list[Floats]:
    """Each table corrected for all of their tests."""
    corrected = holm(np.concatenate([p.ravel() for p in tables]))
    ends = np.cumsum([p.size for p in tables])[:-1]
    parts = np.split(corrected, ends)
    return [part.reshape(p.shape) for part, p in zip(parts, tables, strict=True)]


def _head(contest: _Contest) -> dict[str, Any]:
    grid, setting = contest.grid, contest.setting
    return {
        "data_kind": grid.data_kind,
        "policy": setting.policy,
        "space": grid.space,
        "view": setting.view,
        "coverage": setting.coverage,
        "scope": contest.scope.name,
        "metric": contest.metric.id,
        "tolerance_mm": grid.tolerance_of(contest.metric),
    }


def _pair_block(contest: _Contest, corrected: _Corrected) -> Block:
    table, keys = contest.table, contest.scope.keys
    n_pairs = len(table.pairs)
    names = np.array(table.models, dtype=object)
    first = [a for a, _ in table.pairs]
    second = [b for _, b in table.pairs]
    n_patients = table.n_patients.ravel()
    against = np.sign(np.round(table.difference, 12)) * np.sign(table.win_share - 0.5) < 0
    columns = {
        **_head(contest),
        "key": np.repeat(np.array(keys, dtype=object), n_pairs),
        "model_a": np.tile(names[first], len(keys)),
        "model_b": np.tile(names[second], len(keys)),
        "p_holm": corrected.p.ravel(),
        "p_wilcoxon_holm": corrected.p_wilcoxon.ravel(),
        "n_family": corrected.n_family,
        "family": f"{contest.scope.name}: all pairs of models, metrics and tolerances",
        "note": size_note(n_patients),
        "reason": np.where(against.ravel(), LEANS_OTHER_WAY, ""),
    }
    same = ("difference", "low", "high", "effect_size", "win_share", "p", "p_wilcoxon",
            "p_sign_flip", "error", "freedom")  # fmt: skip
    for name in (*same, "n_patients", "n_scores"):
        columns[name] = getattr(table, name).ravel()
    said = (columns["difference"], columns["error"], columns["freedom"])
    columns["p_false_order"] = false_order(*said)
    columns["equivalent_within"] = equivalent_within(*said)
    columns["smallest_shown"] = smallest_shown(*said[1:])
    columns["n_needed"] = patients_needed(*said, n_patients.astype(np.float64))
    return block_of(columns, n_pairs * len(keys), n_patients > 0)


def _rank_blocks(contest: _Contest, corrected: _Corrected) -> Iterator[Block]:
    """Rows of each method."""
    basis, keys, n_models = contest.basis, contest.scope.keys, len(contest.grid.models)
    significance = by_significance(contest.table, corrected.p, basis.covered)
    n_scores = np.repeat(basis.n_scores, n_models)
    for ranking in (*contest.rankings, significance):
        # A mean score is shown as it is, whichever side is better.
        sign = contest.metric.sign if ranking.method == "mean-then-rank" else 1
        columns = {
            **_head(contest),
            "method": ranking.method,
            "key": np.repeat(np.array(keys, dtype=object), n_models),
            "model": np.tile(np.array(contest.grid.models, dtype=object), len(keys)),
            "rank": ranking.rank.ravel(),
            "rank_low": ranking.low.ravel(),
            "rank_high": ranking.high.ravel(),
            "first_share": ranking.first_share.ravel(),
            "value": sign * ranking.value.ravel(),
            "kendall_tau": np.repeat(ranking.kendall_tau, n_models),
            "n_models": np.repeat(basis.covered.sum(axis=1), n_models),
            "n_patients": np.repeat(basis.n_patients, n_models),
            "n_scores": n_scores,
            "complete": basis.covered.ravel(),
            "note": np.repeat(size_note(basis.n_patients), n_models),
        }
        yield block_of(columns, n_models * len(keys), n_scores > 0)


def _basis(values: Sample, universe: Universe, targets: Targets) -> _Basis:
    n_scores = np.zeros(len(targets), dtype=np.int64)
    people = np.zeros((len(targets), values.n_people), dtype=bool)
    for entry in values.entries:
        at = universe.start[entry.dataset]
        member = targets.member[:, at : at + entry.values.shape[1]]
        n_scores += member @ np.isfinite(entry.values).any(axis=2).sum(axis=0)
        seen = (entry.counts > 0).any(axis=2)
        people[:, entry.people] |= member @ seen.T
    return _Basis(values.covers(universe, targets), n_scores, people.sum(axis=1))
