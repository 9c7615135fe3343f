"""Standard errors, degrees of freedom and intervals of macro means and their differences.

A slot's mean over an entry's scans is a ratio; to first order each patient moves it by an
*influence*, and a macro mean by the weighted sum of them. Influences are divided by the root of
one minus the patient's share, so that their squares sum to an unbiased variance also where
patients have unequally many scans (Bell and McCaffrey 2002, CR2). Patients who are linked across
entries count once: their influences are added before they are squared.

Student's quantile has degrees of freedom by Satterthwaite over the entries. There each entry's
variance is taken two of its standard errors higher: plainly plugged in, a small entry whose
variance came out low would give many degrees of freedom just when the error is too small.

The ends of a mean's interval are made entry by entry on the scale of the metric's range (logit or
log) and joined by their distances from the mean (MOVER; Zou and Donner 2008): scores near the
end of a range are skewed, and no interval leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from evaluation.tables.samples import EntrySample, Floats, Sample, weights_by_model
from evaluation.tables.targets import Targets, Universe

LEVEL = 0.95
_CHUNK = 64
_ROUNDING = 1e-20


@dataclass(frozen=True)
class Spread:
    """Variance of numbers by entry, and over all; columns are models or pairs of them.

    Args:
        part: entries x numbers x columns, what each entry adds to the number.
        weight: the same, the sum of its slots' weights.
        variance: the same, variance of `part`.
        total: numbers x columns, variance of the number, links between entries included.
        freedom: numbers x columns, degrees of freedom; 0 where there is no variance.
    """

    part: Floats
    weight: Floats
    variance: Floats
    total: Floats
    freedom: Floats

    @property
    def error(self) -> Floats:
        """Standard error, numbers x columns; NaN where no variance can be estimated."""
        return np.where(self.freedom > 0, np.sqrt(self.total), np.nan)

    def quantile(self, level: float = LEVEL) -> Floats:
        """Student's two-sided quantile, numbers x columns; NaN without a variance."""
        return student(self.freedom, level)

    def interval(
        self, low: float = -np.inf, high: float = np.inf, level: float = LEVEL
    ) -> tuple[Floats, Floats]:
        """Ends of the interval of each number, within a metric's range.

        Args:
            low: lower end of the range; -inf = none.
            high: its upper end; only used where there is a lower one.
            level: coverage, 0..1.
        """
        weight = np.where(self.weight > 0, self.weight, 1.0)
        mean, error = self.part / weight, np.sqrt(self.variance) / weight
        ends = _scaled_ends(mean, error * self.quantile(level), low, high)
        # Without links the entries' variances sum to the total.
        own = self.variance.sum(axis=0)
        link = np.sqrt(np.divide(self.total, own, out=np.ones_like(own), where=own > 0))
        below, above = (
            link * np.sqrt((((end - mean) * self.weight) ** 2).sum(axis=0)) for end in ends
        )
        number = self.part.sum(axis=0)
        return np.maximum(number - below, low), np.minimum(number + above, high)


def student(freedom: Floats, level: float = LEVEL) -> Floats:
    """Student's two-sided quantile at a level; NaN where there are no degrees of freedom."""
    return np.asarray(stdtrit(np.where(freedom > 0, freedom, np.nan), (1 + level) / 2), np.float64)


def _scaled_ends(mean: Floats, half: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Both ends of intervals of this half width, symmetric on the scale of the range."""
    if not np.isfinite(low):
        return mean - half, mean + half
    if not np.isfinite(high):
        above = np.maximum(mean - low, 1e-12)
        factor = np.exp(half / above)
        return low + above / factor, low + above * factor
    share = np.clip((mean - low) / (high - low), 1e-12, 1 - 1e-12)
    step = half / (high - low) / (share * (1 - share))
    ends = (low + (high - low) * expit(logit(share) + sign * step) for sign in (-1, 1))
    return next(ends), next(ends)


def spread(
    values: Sample,
    universe: Universe,
    targets: Targets,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Spread:
    """Variance of a table's numbers, or of the differences of some pairs of models.

    Args:
        values: the sample; for pairs, one in which all models have the same values.
        universe: slots.
        targets: the table's numbers.
        pairs: positions in `values.models`, first minus second; None = the models themselves.
    """
    chunks = [
        _spread(values, universe, targets.of(np.arange(at, min(at + _CHUNK, len(targets)))), pairs)
        for at in range(0, max(len(targets), 1), _CHUNK)
    ]
    return Spread(
        *(np.concatenate([getattr(c, name) for c in chunks], axis=1) for name in _BY_ENTRY),
        *(np.concatenate([getattr(c, name) for c in chunks]) for name in ("total", "freedom")),
    )


_BY_ENTRY = ("part", "weight", "variance")


def _spread(
    values: Sample,
    universe: Universe,
    targets: Targets,
    pairs: Sequence[tuple[int, int]] | None,
) -> Spread:
    models = len(values.models)
    first = range(models) if pairs is None else [a for a, _ in pairs]
    shape = (len(values.entries), len(targets), len(first))
    part, weight, variance, inflated, by_freedom = (np.zeros(shape) for _ in range(5))
    weights, of_model = weights_by_model(targets, values.slot_means(universe))
    in_entries = np.bincount(
        np.concatenate([e.people for e in values.entries]), minlength=values.n_people
    )
    linked = np.flatnonzero(in_entries > 1)
    place = np.full(values.n_people, -1)
    place[linked] = np.arange(len(linked))
    of_linked = np.zeros((len(linked), *shape[1:]))
    share_linked = np.zeros((len(linked), *shape[1:]))
    square_linked, square_share, every_share = (np.zeros(shape[1:]) for _ in range(3))
    for e, entry in enumerate(values.entries):
        for rows, columns, moved in _moves(entry, universe, weights, of_model, pairs):
            cells = np.ix_(rows, columns)
            part[e][cells], weight[e][cells] = moved.part, moved.weight
            squares = moved.influence**2
            own = squares.sum(axis=0)
            own[own < _ROUNDING * np.maximum(moved.part**2, _ROUNDING)] = 0
            variance[e][cells] = own
            effective = moved.share.sum(axis=0) ** 2 / (moved.share**2).sum(axis=0)
            freedom = np.maximum(effective - 1, 1e-3)
            higher = own * (1 + 2 * np.sqrt(2 / freedom))
            inflated[e][cells] = higher
            by_freedom[e][cells] = higher**2 / freedom
            square_share[cells] += (moved.share**2).sum(axis=0)
            every_share[cells] += moved.share.sum(axis=0)
            both = np.flatnonzero(place[entry.people] >= 0)
            if len(both):
                who = np.ix_(place[entry.people[both]], rows, columns)
                of_linked[who] += moved.influence[both]
                share_linked[who] += moved.share[both]
                square_linked[cells] += squares[both].sum(axis=0)
                square_share[cells] -= (moved.share[both] ** 2).sum(axis=0)
    total = np.maximum(variance.sum(axis=0) - square_linked + (of_linked**2).sum(axis=0), 0)
    total[variance.sum(axis=0) == 0] = 0
    top, below = inflated.sum(axis=0) ** 2, by_freedom.sum(axis=0)
    freedom = np.divide(top, below, out=np.zeros_like(top), where=(below > 0) & (total > 0))
    if len(linked):
        # Patients of several entries are fewer than the entries' numbers say.
        square_share += (share_linked**2).sum(axis=0)
        most = np.divide(
            every_share**2, square_share, out=np.ones_like(top), where=square_share > 0
        )
        freedom = np.where(freedom > 0, np.minimum(freedom, np.maximum(most - 1, 1e-3)), 0)
    return Spread(part, weight, variance, total, freedom)


@dataclass(frozen=True)
class _Moved:
    """What an entry does to some numbers: `influence` and `share` have people first."""

    part: Floats
    weight: Floats
    influence: Floats
    share: Floats


def _moves(
    entry: EntrySample,
    universe: Universe,
    weights: Floats,
    of_model: NDArray[np.int64],
    pairs: Sequence[tuple[int, int]] | None,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], _Moved]]:
    """Numbers and columns that an entry moves, and how."""
    at = universe.start[entry.dataset]
    counts = entry.counts.sum(axis=0)
    means = np.nan_to_num(entry.slot_means)
    share = np.divide(entry.counts, counts, out=np.zeros_like(entry.counts), where=counts > 0)
    shift = np.divide(
        entry.sums - entry.counts * means, counts, out=np.zeros_like(share), where=counts > 0
    )
    # A slot of one patient says nothing about its spread.
    shift /= np.sqrt(np.where(share < 1, 1 - share, 1))
    shift[share >= 1] = 0
    for pattern in range(len(weights)):
        models = np.flatnonzero(of_model == pattern)
        local = weights[pattern][:, at : at + entry.values.shape[1]]
        rows = np.flatnonzero(local.any(axis=1))
        if pairs is None:
            columns, first, second = models, models, None
        else:
            inside = set(models.tolist())
            columns = np.array([i for i, (a, b) in enumerate(pairs) if {a, b} <= inside], np.intp)
            first = np.array([pairs[i][0] for i in columns.tolist()], np.intp)
            second = np.array([pairs[i][1] for i in columns.tolist()], np.intp)
        if not len(rows) or not len(columns):
            continue
        moved = shift[:, :, first]
        mean = means[:, first]
        if second is not None:
            moved, mean = moved - shift[:, :, second], mean - means[:, second]
        some = local[rows]
        held = np.repeat(some.sum(axis=1)[:, None], len(columns), axis=1)
        yield (
            rows,
            columns,
            _Moved(
                some @ mean,
                held,
                np.tensordot(moved, some, axes=(1, 1)).transpose(0, 2, 1),
                np.tensordot(share[:, :, first], some, axes=(1, 1)).transpose(0, 2, 1),
            ),
        )
