"""Two models compared by patient, on the very mean that the table shows.

The primary test is Student's, of the macro mean's difference with the error that its interval has
(`evaluation.tables.intervals`), so that the two never disagree; it keeps its level where entries
disagree, too. Beside it a test flips the sign of each patient's contribution to the difference:
under its sharp null hypothesis a patient is as likely to favour one model as the other. It is
exact up to 13 patients and drawn at random above, and conservative where entries disagree. The
effect size is made of the same contributions, so it has the difference's sign. Wilcoxon's test on
patients' own means and the share of patients that are better under a model stand beside it: they
weigh patients alike, the macro mean weighs entries and classes alike, so they may lean the other
way; then the row says so. Below 11 patients no test is printed: the smallest reachable p would
mislead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from evaluation.tables.evidence import two_sided
from evaluation.tables.intervals import spread
from evaluation.tables.samples import Floats, Sample, macro, weights_by_model
from evaluation.tables.targets import Targets, Universe

MIN_PATIENTS = 11
LEANS_OTHER_WAY = (
    "most patients are better under the other model: the difference weighs entries and classes "
    "alike, not patients"
)
TOO_SMALL = "n too small"
N_FLIPS = 9999
EXACT_UP_TO = 13
_BLOCK = 2000


def size_note(n_patients: NDArray[np.int64]) -> NDArray[np.object_]:
    """The mark of intervals, ranks and tests that rest on too few independent patients."""
    return np.where(n_patients < MIN_PATIENTS, TOO_SMALL, "").astype(object)


@dataclass(frozen=True)
class PairTable:
    """Comparisons of all pairs of models; every array is numbers x pairs.

    `pairs` holds positions in `models`; `difference` is the first's macro mean minus the
    second's, on the class x scan pairs that both have.
    """

    models: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    difference: Floats
    low: Floats
    high: Floats
    effect_size: Floats
    win_share: Floats
    p: Floats
    p_wilcoxon: Floats
    p_sign_flip: Floats
    error: Floats
    freedom: Floats
    n_patients: NDArray[np.int64]
    n_scores: NDArray[np.int64]


def compare(
    values: Sample,
    universe: Universe,
    targets: Targets,
    seed: int = 0,
    n_flips: int = N_FLIPS,
) -> PairTable:
    """Compare all pairs of models on every number of a table.

    Args:
        values: the sample, in which the higher value is the better one.
        universe: slots.
        targets: the table's numbers.
        seed: of the random sign flips.
        n_flips: random sign flips where there are too many to list.
    """
    pairs = tuple(combinations(range(len(values.models)), 2))
    if values.same_scans:
        parts = [_compare(values, universe, targets, pairs, seed, n_flips)]
    else:
        parts = []
        for pair in pairs:
            both = values.keep(pair, together=True)
            parts.append(_compare(both, universe, targets, ((0, 1),), seed, n_flips))
    return PairTable(
        values.models,
        pairs,
        *(np.concatenate([part[i] for part in parts], axis=1) for i in range(len(parts[0]))),
    )


def _compare(
    values: Sample,
    universe: Universe,
    targets: Targets,
    pairs: Sequence[tuple[int, int]],
    seed: int,
    n_flips: int,
) -> tuple[NDArray[np.generic], ...]:
    shape = (len(targets), len(pairs))
    first = [a for a, _ in pairs]
    second = [b for _, b in pairs]
    numbers = macro(values, universe, targets)
    difference = numbers[:, first] - numbers[:, second]
    found = spread(values, universe, targets, pairs)
    low, high = found.interval()
    by_patient = patient_contributions(values, universe, targets)
    means, n_values = patient_means(values, universe, targets)
    effect, wins = np.full(shape, np.nan), np.full(shape, np.nan)
    p_flip, p_wilcoxon = np.full(shape, np.nan), np.full(shape, np.nan)
    n_patients = np.zeros(shape, dtype=np.int64)
    inside = np.asarray(n_values > 0, dtype=bool).min(axis=2)
    n_patients[:] = inside.sum(axis=0)[:, None]
    for row in np.flatnonzero(inside.any(axis=0)):
        people = inside[:, row]
        share = by_patient[people, row]
        effect[row] = _effect(share[:, first] - share[:, second])
        mean = means[people, row]
        differences = mean[:, first] - mean[:, second]
        wins[row] = ((differences > 0) + 0.5 * (differences == 0)).mean(axis=0)
        if len(mean) >= MIN_PATIENTS:
            p_wilcoxon[row] = wilcoxon(differences)
    generator = np.random.default_rng(seed)
    for rows, tested in _together(inside):
        part = by_patient[np.ix_(tested, rows)]
        change = part[:, :, first] - part[:, :, second]
        flipped = sign_flip(change.reshape(len(tested), -1), generator, n_flips)
        p_flip[rows] = flipped.reshape(len(rows), -1)
    error, freedom = found.error, found.freedom
    # Without any spread only the signs can be judged.
    p = np.where(freedom > 0, two_sided(difference, error, freedom), p_flip)
    p[n_patients < MIN_PATIENTS] = np.nan
    n_scores = np.repeat(n_values.sum(axis=0)[:, :1], len(pairs), axis=1).astype(np.int64)
    return (difference, low, high, effect, wins, p, p_wilcoxon, p_flip, error, freedom,
            n_patients, n_scores)  # fmt: skip


def _together(
    inside: NDArray[np.bool_],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows to test with the same signs, and their people.

    Rows that share most people are tested at once: signs are dear to draw, and people outside a
    row contribute nothing to it.
    """
    n_people = inside.sum(axis=0)
    large = n_people > max(MIN_PATIENTS, EXACT_UP_TO, 0.2 * len(inside))
    if large.any():
        yield np.flatnonzero(large), np.flatnonzero(inside[:, large].any(axis=1))
    for row in np.flatnonzero(~large & (n_people >= MIN_PATIENTS)):
        yield np.array([row]), np.flatnonzero(inside[:, row])


def patient_contributions(values: Sample, universe: Universe, targets: Targets) -> Floats:
    """People x numbers x models: what each person adds; the sum over people is the macro mean."""
    means = values.slot_means(universe)
    weights, of_model = weights_by_model(targets, means)
    result = np.zeros((values.n_people, len(targets), len(values.models)))
    for entry in values.entries:
        at = universe.start[entry.dataset]
        n = entry.counts.sum(axis=0)
        share = np.divide(entry.sums, n, out=np.zeros_like(entry.sums), where=n > 0)
        for pattern, weight in enumerate(weights):
            local = weight[:, at : at + entry.values.shape[1]]
            rows = np.flatnonzero(local.any(axis=1))
            models = np.flatnonzero(of_model == pattern)
            part = np.tensordot(share[:, :, models], local[rows], axes=(1, 1))
            result[np.ix_(entry.people, rows, models)] += part.transpose(0, 2, 1)
    return result


def patient_means(values: Sample, universe: Universe, targets: Targets) -> tuple[Floats, Floats]:
    """Mean over a person's scored values, and their number: people x numbers x models."""
    shape = (values.n_people, len(targets), len(values.models))
    total, n = np.zeros(shape), np.zeros(shape)
    for entry in values.entries:
        at = universe.start[entry.dataset]
        local = targets.member[:, at : at + entry.values.shape[1]]
        rows = np.flatnonzero(local.any(axis=1))
        chosen = local[rows].astype(np.float64)
        cells = np.ix_(entry.people, rows, np.arange(shape[2]))
        total[cells] += np.tensordot(entry.sums, chosen, axes=(1, 1)).transpose(0, 2, 1)
        n[cells] += np.tensordot(entry.counts, chosen, axes=(1, 1)).transpose(0, 2, 1)
    return np.divide(total, n, out=np.full(shape, np.nan), where=n > 0), n


def _effect(contributions: Floats) -> Floats:
    """Mean of the patients' contributions over their deviation, of each comparison.

    It has the sign of their sum, the difference that is shown; NaN where they do not vary.
    """
    if len(contributions) < 2:
        return np.full(contributions.shape[1], np.nan)
    mean, deviation = contributions.mean(axis=0), contributions.std(axis=0, ddof=1)
    # Equal contributions may differ in their last bits.
    varies = deviation > 1e-9 * np.abs(contributions).max(axis=0)
    effect: Floats = np.divide(mean, deviation, out=np.full_like(mean, np.nan), where=varies)
    effect[~varies & (mean == 0)] = 0.0
    return effect


def sign_flip(
    contributions: Floats, generator: np.random.Generator, n_flips: int = N_FLIPS
) -> Floats:
    """Two-sided p of the sum of contributions under random signs.

    The null is sharp: for no patient is either model favoured. Where entries disagree, one model
    ahead in one and the other in the next, what they differ by counts as noise, so that the test
    is conservative: it then finds fewer differences of the overall mean than the interval shows.

    Args:
        contributions: patients x comparisons.
        generator: for the random signs.
        n_flips: number of random signs; up to 13 patients all signs are listed instead.

    Returns:
        p of each comparison; 1 where every contribution is 0.
    """
    n = len(contributions)
    observed = np.abs(contributions.sum(axis=0))
    # Differences of rounding must not decide whether a permutation ties with the data.
    bound = observed - 1e-9 - 1e-6 * np.abs(contributions).sum(axis=0)
    if n <= EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        exact: Floats = (np.abs(signs @ contributions) >= bound).mean(axis=0)
        return exact
    reached = np.ones(contributions.shape[1])
    single = contributions.astype(np.float32)
    for start in range(0, n_flips, _BLOCK):
        size = min(_BLOCK, n_flips - start)
        bits = np.unpackbits(
            generator.integers(0, 256, (size, (n + 7) // 8), dtype=np.uint8), axis=1
        )
        signs = 1.0 - 2.0 * bits[:, :n].astype(np.float32)
        reached += (np.abs(signs @ single) >= bound).sum(axis=0)
    return reached / (n_flips + 1)


def wilcoxon(differences: Floats) -> Floats:
    """Two-sided Wilcoxon signed-rank p of each column (patients x comparisons)."""
    from scipy.stats import wilcoxon as signed_rank

    p = np.ones(differences.shape[1])
    some = (differences != 0).any(axis=0)
    if some.any():
        p[some] = signed_rank(
            differences[:, some], axis=0, zero_method="zsplit", method="approx"
        ).pvalue
    return p


def holm(p: Floats) -> Floats:
    """Holm's step-down correction over all p that are not NaN, in the shape of the input.

    Equal to statsmodels' `multipletests(method="holm")` (a test says so), whose import and
    garbage collection on every call would take longer than all tables of a small run.
    """
    corrected = np.full(p.shape, np.nan)
    known = p[np.isfinite(p)]
    if known.size:
        order = np.argsort(known)
        steps = known[order] * np.arange(known.size, 0, -1)
        stepped = np.empty_like(known)
        stepped[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
        corrected[np.isfinite(p)] = stepped
    return corrected
