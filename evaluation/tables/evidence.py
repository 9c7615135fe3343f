"""What a difference and its standard error say: tests, equivalence, power, planning of n.

All functions take arrays that broadcast: differences, their standard errors, and degrees of
freedom, as `evaluation.tables.intervals` makes them; NaN where there is no variance.
"""

from __future__ import annotations

import numpy as np
from scipy.special import nctdtrinc, stdtr

from evaluation.tables.intervals import LEVEL, student
from evaluation.tables.samples import Floats

POWER = 0.8
_STEPS = 10


def two_sided(difference: Floats, error: Floats, freedom: Floats) -> Floats:
    """P of no difference, by Student's distribution; below 0.05 where the interval excludes 0."""
    return 2 * false_order(difference, error, freedom)


def false_order(difference: Floats, error: Floats, freedom: Floats) -> Floats:
    """Probability, 0..0.5, that the order of the two is the other way round.

    The posterior probability under a flat prior on the difference, which is the one-sided p of the
    order seen (Christodoulou et al. 2025 ask this of published claims of superiority).
    """
    return _below(-np.abs(difference), error, freedom)


def not_equivalent(difference: Floats, error: Floats, freedom: Floats, margin: float) -> Floats:
    """P of the two one-sided tests (TOST; Schuirmann 1987): small where |true| < margin is shown.

    Args:
        difference: of the two.
        error: its standard error.
        freedom: degrees of freedom.
        margin: in the metric's unit, above 0.
    """
    return _below(np.abs(difference) - margin, error, freedom)


def equivalent_within(difference: Floats, error: Floats, freedom: Floats) -> Floats:
    """The smallest margin within which TOST at 5 % calls the two equivalent."""
    within: Floats = np.abs(difference) + student(freedom, 2 * LEVEL - 1) * error
    return within


def smallest_shown(error: Floats, freedom: Floats, power: float = POWER) -> Floats:
    """The true difference that these patients show at 5 % (two-sided) with this power."""
    return _noncentrality(freedom, power) * error


def patients_needed(
    wanted: Floats, error: Floats, freedom: Floats, n_patients: Floats, power: float = POWER
) -> Floats:
    """Patients, with shares of the entries as they are, that show a wanted true difference.

    Args:
        wanted: the true difference; its sign does not count.
        error: standard error with `n_patients`.
        freedom: degrees of freedom with `n_patients`.
        n_patients: patients now.
        power: probability that the difference is shown.

    Returns:
        Whole numbers, at least 2; NaN where there is no variance, or nothing is wanted.
    """
    size = np.abs(np.asarray(wanted, dtype=np.float64))
    unit = np.asarray(error) / np.where(size > 1e-12, size, np.nan)
    normal = _noncentrality(np.where(freedom > 0, 1e6, 0), power)
    factor = (normal * unit) ** 2
    for _ in range(_STEPS):
        # More patients also bring more degrees of freedom.
        shift = _noncentrality(freedom * np.maximum(factor, 1e-6), power)
        factor = 0.5 * factor + 0.5 * (shift * unit) ** 2
    return np.maximum(np.ceil(factor * n_patients - 1e-9), 2 + 0 * unit)


def _below(distance: Floats, error: Floats, freedom: Floats) -> Floats:
    known = np.where(freedom > 0, freedom, np.nan)
    return np.asarray(stdtr(known, distance / np.where(error > 0, error, np.nan)), np.float64)


def _noncentrality(freedom: Floats, power: float) -> Floats:
    """Shift of Student's t, in standard errors, at which the two-sided test has a power."""
    # Below one degree of freedom the inverse does not end; such a power is not to be had anyway.
    known = np.where(freedom > 0, np.maximum(freedom, 1.0), np.nan)
    return np.asarray(nctdtrinc(known, 1 - power, student(known)), np.float64)
