"""Thresholds and calibration."""

import numpy as np
import pytest

from evaluation.training.validation import validation_patients
from sat.diagnosis.calibration import BINS, Histogram, summarise


def _histogram(probability, truth, name="liver"):
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    inside = np.bincount(bins[truth], minlength=BINS)
    return Histogram("d", name, inside, np.bincount(bins[~truth], minlength=BINS))


def test_dice_at_every_threshold_equals_the_direct_computation():
    random = np.random.default_rng(0)
    truth = random.random(4000) < 0.3
    probability = np.clip(0.3 * truth + random.random(4000) * 0.7, 0, 1)
    dice = _histogram(probability, truth).dice
    for i in (1, 20, 50, 77, 99):
        guess = probability >= i / BINS
        direct = 2 * (guess & truth).sum() / (guess.sum() + truth.sum())
        assert dice[i - 1] == pytest.approx(direct)
    assert _histogram(probability, truth & False).dice is None


def test_best_threshold_and_reliability():
    random = np.random.default_rng(1)
    truth = np.arange(20000) < 5000
    # Too sure: foreground lies above 0.7, and background reaches 0.7.
    probability = np.where(truth, random.uniform(0.7, 1, 20000), random.uniform(0, 0.7, 20000))
    found = summarise([_histogram(probability, truth), _histogram(probability, truth & False)])
    assert found["classes"] == [
        {
            "dataset": "d", "class": "liver", "n_cases": 1,
            "dsc_at_half": found["classes"][0]["dsc_at_half"],
            "best_threshold": 0.7, "dsc_at_best": 1.0,
        }
    ]  # fmt: skip
    assert found["one_threshold_for_all"]["best_threshold"] == 0.7
    assert found["classes"][0]["dsc_at_half"] < 0.8
    honest = random.random(40000)
    exact = summarise([_histogram(honest, random.random(40000) < honest)])
    assert exact["expected_calibration_error"] < 0.03
    for row in exact["reliability"]:
        assert row["observed"] == pytest.approx(row["mean_probability"], abs=0.03)
    # Between equally good thresholds, a half stays a half.
    clear = np.where(truth, 0.95, 0.02)
    assert summarise([_histogram(clear, truth)])["classes"][0]["best_threshold"] == 0.5
    assert summarise([])["one_threshold_for_all"] is None


def test_validation_patients_are_fixed_and_never_split():
    patients = [f"p{i // 2}" for i in range(100)]
    chosen = validation_patients(patients, 0.2)
    assert len(chosen) == 10
    assert chosen == validation_patients(patients[::-1], 0.2)
    assert len(validation_patients(["one"], 0.2)) == 1
