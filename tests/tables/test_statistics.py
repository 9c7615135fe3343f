from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import kendalltau
from scipy.stats import wilcoxon as scipy_wilcoxon
from statsmodels.stats.multitest import multipletests

from evaluation.metrics.catalogue import find_metric
from evaluation.schema import PAIRS, RANKS, to_arrow
from evaluation.tables.building import build_grids
from evaluation.tables.comparison import (
    LEANS_OTHER_WAY,
    TOO_SMALL,
    compare,
    holm,
    patient_contributions,
    sign_flip,
    wilcoxon,
)
from evaluation.tables.decisions import decide, scopes_of
from evaluation.tables.intervals import spread
from evaluation.tables.ranking import kendall_tau
from evaluation.tables.samples import macro, sample
from evaluation.tables.scores import Expected
from evaluation.tables.statistics import bootstrap, patient_weights
from evaluation.tables.targets import universe_of
from evaluation.tables.views import Links
from tests.bench.score_rows import synthetic_scores

DSC = find_metric("dsc")
NO_LINKS = Links({}, frozenset(), "")
SHAPE = {
    "flare22": ("ct", 30, {"liver": True, "spleen": True, "kidney": False}),
    "word": ("ct", 24, {"liver": True, "rectum": True}),
    "chaos_mr": ("mri", 5, {"liver": True, "spleen": True}),
}


def prepared(models=None, links=NO_LINKS, shape=SHAPE, **options):
    scores = synthetic_scores(models or {"m": 0.0, "n": 0.05}, shape, **options)
    grid = build_grids(scores.rows, scores.expected, links)[0]
    return scores, grid, universe_of(grid, scores.expected), sample(grid, DSC, "present-only")


@pytest.fixture(scope="module")
def known():
    return prepared(seed=2, absent=0.2, scans_per_patient=2)


def test_draws_keep_every_entry_and_move_whole_patients(known) -> None:
    _, _, _, values = known
    weights = patient_weights(values, 500, seed=1)
    for entry in values.entries:
        mine = weights[:, entry.people]
        np.testing.assert_allclose(mine.sum(axis=1), len(entry.people), rtol=1e-5)
    assert weights.mean() == pytest.approx(1, abs=0.02)


def test_the_matrix_product_equals_a_loop_over_draws(known) -> None:
    _, _, universe, values = known
    weights = patient_weights(values, 4, seed=1)
    targets = [scope.targets for scope in scopes_of(universe)]
    fast = bootstrap(values, universe, targets, weights)
    for draw in range(4):
        means = np.empty((len(universe), 2))
        for entry in values.entries:
            weight = weights[draw, entry.people][entry.person][:, None, None]
            finite = np.isfinite(entry.values)
            top = (np.nan_to_num(entry.values) * weight).sum(axis=0)
            below = (finite * weight).sum(axis=0)
            at = universe.start[entry.dataset]
            plain = np.nanmean(entry.values, axis=0)
            means[at : at + len(top)] = np.where(below > 0, top / np.maximum(below, 1e-9), plain)
        for table, one in zip(fast, targets, strict=True):
            slow = one.weights(np.ones(len(universe), dtype=bool)) @ means
            np.testing.assert_allclose(table.values[:, draw], slow, atol=1e-5)


def test_intervals_hold_the_estimate_and_shrink_with_n(known) -> None:
    _, _, universe, values = known
    scope = scopes_of(universe)[1]
    low, high = spread(values, universe, scope.targets).interval(0, 1)
    estimate = macro(values, universe, scope.targets)
    assert ((low < estimate) & (estimate < high)).all()
    many = prepared(seed=2, shape={"word": ("ct", 400, {"liver": True})})
    narrow = spread(many[3], many[2], scopes_of(many[2])[1].targets).interval(0, 1)
    narrow = narrow[1] - narrow[0]
    assert (narrow > 0).all()
    assert narrow.max() < 0.5 * (high - low)[scope.keys.index("word")].min()


def test_one_patient_has_no_interval(row, grid_of) -> None:
    from evaluation.tables.scores import Expected

    grid = grid_of([row("m", "word", "1", "liver"), row("m", "word", "2", "liver", patient="1")])
    universe = universe_of(grid, Expected("synthetic"))
    values = sample(grid, DSC, "present-only")
    for scope in scopes_of(universe):
        assert np.isnan(spread(values, universe, scope.targets).interval(0, 1)[0]).all()


def test_linked_patients_carry_one_weight() -> None:
    people = {("flare22", f"patient-{i:05d}"): f"p{i}" for i in range(24)}
    people |= {("word", f"patient-{i:05d}"): f"p{i}" for i in range(24)}
    _, grid, universe, linked = prepared(links=Links(people, frozenset(), ""), seed=4)
    assert len(grid.people) == 30 + 5
    overall = scopes_of(universe)[0].targets
    widths = []
    for values in (linked, prepared(seed=4)[3]):
        low, high = spread(values, universe, overall).interval(0, 1)
        widths.append((high - low).mean())
    # The same patients in two entries err together here only by chance; the link must
    # not make the interval collapse or explode.
    assert 0.6 < widths[0] / widths[1] < 1.7


def test_errors_equal_the_bootstraps_and_linked_twins_count_once() -> None:
    """A third way to the same: draws of patients, and an entry that is another one's copy."""
    _, _, universe, values = prepared(shape={"flare22": ("ct", 60, {"liver": True}),
                                             "word": ("ct", 60, {"liver": True})})  # fmt: skip
    scope = scopes_of(universe)[0].targets
    found = spread(values, universe, scope)
    drawn = bootstrap(values, universe, [scope], patient_weights(values, 4000))[0].values.std(
        axis=1
    )
    np.testing.assert_allclose(found.error, drawn, rtol=0.05)
    twin = replace(values.entries[0], dataset="word")
    one = values.map([values.entries[0].values, values.entries[0].values])
    twins = replace(one, entries=(values.entries[0], twin))
    alone = spread(values, universe, scopes_of(universe)[1].targets)
    both = spread(twins, universe, scope)
    np.testing.assert_allclose(both.error[0], alone.error[0])
    np.testing.assert_allclose(both.freedom[0], alone.freedom[0])
    apart = spread(one, universe, scope)
    np.testing.assert_allclose(apart.error, both.error / np.sqrt(2))


def test_contributions_of_patients_add_up_to_the_table(known) -> None:
    _, _, universe, values = known
    for scope in scopes_of(universe):
        parts = patient_contributions(values, universe, scope.targets)
        np.testing.assert_allclose(parts.sum(axis=0), macro(values, universe, scope.targets))


def test_sign_flips_against_full_enumeration() -> None:
    generator = np.random.default_rng(0)
    for n in (11, 13):
        values = generator.normal(0.3, 1, (n, 2))
        sums = np.array([np.array(signs) @ values for signs in product((-1, 1), repeat=n)])
        expected = (np.abs(sums) >= np.abs(values.sum(axis=0)) - 1e-12).mean(axis=0)
        np.testing.assert_allclose(sign_flip(values, generator), expected)
    values = generator.normal(0.4, 1, (15, 1))
    bits = (np.arange(2**15)[:, None] >> np.arange(15)) & 1
    exact = (np.abs((1 - 2 * bits) @ values) >= np.abs(values.sum()) - 1e-12).mean()
    assert sign_flip(values, generator, 20_000)[0] == pytest.approx(exact, abs=0.02)
    np.testing.assert_array_equal(sign_flip(np.zeros((20, 1)), generator, 500), [1.0])


def test_holm_equals_statsmodels_and_skips_what_was_not_tested() -> None:
    p = np.random.default_rng(1).uniform(0, 0.2, (4, 5))
    p[1, 2] = np.nan
    known = np.isfinite(p)
    np.testing.assert_allclose(holm(p)[known], multipletests(p[known], method="holm")[1])
    assert np.isnan(holm(p)[1, 2])
    assert np.isnan(holm(np.full(3, np.nan))).all()


def test_wilcoxon_equals_scipy_and_knows_no_difference() -> None:
    values = np.random.default_rng(1).normal(0.2, 1, (25, 3))
    values[:, 1] = 0
    expected = [scipy_wilcoxon(values[:, k], method="approx").pvalue for k in (0, 2)]
    np.testing.assert_allclose(wilcoxon(values), [expected[0], 1.0, expected[1]])


def test_pairs_on_the_common_set_of_two_models(known) -> None:
    _, _, universe, values = known
    scope = scopes_of(universe)[1]
    whole = compare(values, universe, scope.targets, n_flips=500)
    # Taking one model's class away must give the comparison on what is left.
    entry = values.entries[1]
    entry_values = [e.values.copy() for e in values.entries]
    entry_values[1][:, 0, 1] = np.nan
    part = compare(values.map(entry_values), universe, scope.targets, n_flips=500)
    at = scope.keys.index(entry.dataset)
    left = np.nanmean(entry.values[:, 1:], axis=0).mean(axis=0)
    assert part.difference[at, 0] == pytest.approx(left[0] - left[1])
    others = [i for i in range(len(scope.keys)) if i != at]
    np.testing.assert_allclose(part.difference[others], whole.difference[others])
    assert part.n_scores[at, 0] < whole.n_scores[at, 0]


def test_small_n_is_not_tested_and_says_so() -> None:
    scores, grid, _, _ = prepared({"a": 0.0, "b": 0.1, "c": 0.11}, seed=6)
    tables = decide([grid], scores.expected, n_draws=200, n_flips=999)
    pairs = tables["pairs"]
    to_arrow(pairs, PAIRS)
    to_arrow(tables["ranks"], RANKS)
    small = pairs["key"].eq("chaos_mr")
    assert pairs.loc[small, "p"].isna().all()
    assert (pairs.loc[small, "note"] == TOO_SMALL).all()
    assert pairs.loc[~small, "p"].notna().all()
    family = pairs[pairs["scope"].eq("dataset") & pairs["view"].eq("paper")]
    # Two entries with enough patients x three pairs x two metrics, for each policy.
    assert set(family["n_family"]) == {12}


def test_ranks_recover_a_clear_order_and_their_stability() -> None:
    models = {"a": 0.0, "b": 0.1, "c": 0.2}
    scores, grid, _, _ = prepared(models, seed=7)
    ranks = decide([grid], scores.expected, n_draws=300, n_flips=999)["ranks"]
    overall = ranks[ranks["scope"].eq("overall") & ranks["metric"].eq("dsc")]
    for method, group in overall.groupby("method"):
        order = group.drop_duplicates("model").set_index("model")["rank"]
        assert order.to_dict() == {"a": 3, "b": 2, "c": 1}, method
    stable = overall[overall["method"] == "mean-then-rank"]
    assert (stable["kendall_tau"] > 0.95).all()
    assert stable.set_index("model")["first_share"]["c"].min() > 0.95


def test_a_model_that_lacks_classes_is_ranked_only_where_it_is_complete() -> None:
    scores, _, _, _ = prepared({"a": 0.0, "b": 0.1}, seed=8)
    gone = scores.rows["model"].eq("b") & scores.rows["dataset"].eq("word")
    gone &= scores.rows["class"].eq("liver")
    rows = scores.rows.assign(status=scores.rows["status"].astype(str))
    rows.loc[gone, "status"] = "unsupported"
    grid = build_grids(rows, scores.expected, NO_LINKS)[0]
    ranks = decide([grid], scores.expected, n_draws=100, n_flips=200)["ranks"]
    usual = ranks["method"].eq("mean-then-rank") & ranks["metric"].eq("dsc")
    usual &= ranks["policy"].eq("paper") & ranks["view"].eq("paper")

    def rank_of(model: str, key: str, coverage: str) -> float:
        chosen = ranks[usual & ranks["key"].eq(key) & ranks["coverage"].eq(coverage)]
        return float(chosen.set_index("model").loc[model, "rank"])

    assert np.isnan(rank_of("b", "all", "supported"))
    assert rank_of("a", "all", "supported") == 1
    assert rank_of("b", "flare22", "supported") == 1
    assert rank_of("b", "all", "common") == 1
    assert rank_of("b", "word", "zero") == 2


def test_kendall_tau_equals_scipy_without_ties() -> None:
    generator = np.random.default_rng(0)
    base = generator.permutation(8).astype(float)
    others = np.array([generator.permutation(8) for _ in range(20)], dtype=float)
    expected = [kendalltau(base, other).statistic for other in others]
    np.testing.assert_allclose(kendall_tau(base, others), expected)
    assert kendall_tau(np.ones(1), np.ones((3, 1))).tolist() == [1, 1, 1]


def test_truth_is_recovered() -> None:
    scores, _, universe, values = prepared({"m": 0.0, "n": 0.05}, seed=9)
    truth = scores.truth.groupby(["dataset", "model"])["dsc"].mean().groupby("model").mean()
    overall = scopes_of(universe)[0].targets
    low, high = spread(values, universe, overall).interval(0, 1)
    assert (low[0] - 0.01 < truth.to_numpy()).all()
    assert (truth.to_numpy() < high[0] + 0.01).all()


def test_an_effect_never_contradicts_its_difference(row, grid_of) -> None:
    """A rare class decides the macro mean for one model, most patients favour the other."""
    rows = []
    for model, common, rare in (("a", 0.70, 0.90), ("b", 0.72, 0.10)):
        for case in range(12):
            wobble = 0.001 * case
            rows.append(row(model, "word", str(case), "liver", common + wobble))
            there = {} if case < 2 else {"status": "both_empty", "reference_voxels": 0}
            value = rare + wobble if case < 2 else np.nan
            rows.append(row(model, "word", str(case), "spleen", value, **there))
    pairs = decide([grid_of(rows)], Expected("synthetic"), n_draws=50, n_flips=99)["pairs"]
    to_arrow(pairs, PAIRS)
    usual = pairs[pairs["scope"].eq("overall") & pairs["policy"].eq("present-only")]
    assert (usual["difference"] > 0.3).all()
    assert (usual["effect_size"] > 0).all()
    assert (usual["win_share"] < 0.5).all()
    assert (usual["reason"] == LEANS_OTHER_WAY).all()
    some = pairs[pairs["effect_size"].notna()]
    assert (np.sign(some["effect_size"]) == np.sign(some["difference"].round(12))).all()
    agree = np.sign(pairs["difference"]) == np.sign(pairs["win_share"] - 0.5)
    assert (pairs.loc[agree, "reason"] == "").all()
    # Where the reason is, only there.
    assert set(pairs.loc[~agree & pairs["win_share"].ne(0.5), "reason"]) <= {LEANS_OTHER_WAY}


def test_effects_of_one_entry_with_whole_scans_are_those_of_patients_means() -> None:
    _, _, universe, whole = prepared(absent=0.0)
    scope = scopes_of(universe)[1]
    pairs = compare(whole, universe, scope.targets, n_flips=99)
    for entry in whole.entries:
        means = np.array(
            [entry.values[entry.person == p].mean(axis=(0, 1)) for p in range(len(entry.people))]
        )
        change = means[:, 0] - means[:, 1]
        expected = change.mean() / change.std(ddof=1)
        at = scope.keys.index(entry.dataset)
        assert pairs.effect_size[at, 0] == pytest.approx(expected)
