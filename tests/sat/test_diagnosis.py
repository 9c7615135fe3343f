"""Confused neighbours, thresholds and calibration."""

import numpy as np
import pytest

from evaluation.classes import vocabulary
from evaluation.volumes.segmentation import pack_masks
from sat.diagnosis.calibration import BINS, Histogram, summarise, validation_patients
from sat.diagnosis.neighbours import Confusions, confusions, place_in_row, rows_of

RIBS = [f"left rib {n}" for n in range(1, 5)]


def test_rows_of_the_vocabulary():
    ct = rows_of([info.name for info in vocabulary() if info.modality == "ct"])
    assert {row: len(members) for row, members in ct.items()} == {
        "left ribs": 12, "right ribs": 12, "vertebrae": 24,
    }  # fmt: skip
    assert sorted(ct["vertebrae"].values()) == list(range(1, 25))
    mri = rows_of([info.name for info in vocabulary() if info.modality == "mri"])
    assert {row: len(members) for row, members in mri.items()} == {
        "vertebrae": 9, "intervertebral discs": 9,
    }  # fmt: skip
    for members in mri.values():
        numbers = sorted(members.values())
        assert numbers == list(range(numbers[0], numbers[0] + 9))
    assert place_in_row("left rib") is None


def _bars(places):
    masks = {}
    for name, start in places.items():
        mask = np.zeros((40, 3, 3), dtype=bool)
        if start is not None:
            mask[start : start + 5] = True
        masks[name] = mask
    return masks


def test_confused_ribs():
    affine = np.eye(4)
    truth = pack_masks(_bars({name: 8 * i for i, name in enumerate(RIBS)}), affine, "annotated")
    guess = _bars(dict(zip(RIBS, (1, 17, 0, None), strict=True)))
    found = confusions(truth, pack_masks(guess, affine, "direct"))
    assert found == {"left ribs": Confusions(right=1, neighbour=1, further=1, empty=1)}
    assert found["left ribs"].rate == pytest.approx(2 / 3)
    outside = confusions(truth, pack_masks(_bars(dict.fromkeys(RIBS, 35)), affine, "direct"))
    assert outside == {"left ribs": Confusions(nowhere=4)}
    assert np.isnan(outside["left ribs"].rate)
    # A rib that the scan does not show is not counted.
    cut = pack_masks(_bars({**dict.fromkeys(RIBS[:1], 0), RIBS[1]: None}), affine, "annotated")
    assert confusions(cut, cut) == {"left ribs": Confusions(right=1)}


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
