"""Tests, equivalence, power and planning against other ways to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from evaluation.tables.evidence import (
    equivalent_within,
    false_order,
    not_equivalent,
    patients_needed,
    smallest_shown,
    two_sided,
)


@pytest.fixture
def seen() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Differences of one group of patients: themselves, their mean, its error, its freedom."""
    values = np.random.default_rng(3).normal(0.02, 0.05, 25)
    mean, error = values.mean(), values.std(ddof=1) / 5
    return values, *(np.array([each]) for each in (mean, error, 24.0))


def test_of_one_group_they_are_scipys_and_statsmodels_own(seen) -> None:
    values, *said = seen
    expected = stats.ttest_1samp(values, 0)
    assert two_sided(*said)[0] == pytest.approx(expected.pvalue)
    assert false_order(*said)[0] == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="greater").pvalue
    )
    tost, *_ = DescrStatsW(values).ttost_mean(-0.04, 0.04)
    assert not_equivalent(*said, 0.04)[0] == pytest.approx(tost)
    margin = equivalent_within(*said)[0]
    assert not_equivalent(*said, margin)[0] == pytest.approx(0.05)
    power = TTestPower()
    deviation = said[1][0] * 5
    found = smallest_shown(*said[1:])[0]
    assert power.power(found / deviation, 25, 0.05) == pytest.approx(0.8, abs=1e-4)
    n = patients_needed(np.array([0.01]), *said[1:], np.array([25.0]))[0]
    assert power.power(0.01 / deviation, n, 0.05) == pytest.approx(0.8, abs=0.01)


def test_without_a_variance_nothing_is_said() -> None:
    nothing = (np.array([0.1]), np.array([np.nan]), np.array([0.0]))
    assert np.isnan(two_sided(*nothing)).all()
    assert np.isnan(equivalent_within(*nothing)).all()
    assert np.isnan(smallest_shown(*nothing[1:])).all()
    assert np.isnan(patients_needed(*nothing, np.array([1.0]))).all()
