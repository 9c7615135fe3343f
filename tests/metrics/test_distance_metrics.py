"""Metrics made of surface distances: by the one pipeline, equal to the package they define."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import surface_distance

import satbench
from evaluation.errors import BenchError

SPACING = (0.9, 1.1, 2.5)
CLASSES = {"organ": 1, "lesion": 2}


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """An organ, and a lesion that the prediction misses."""
    grid = np.indices((30, 28, 14))
    distance = [
        np.sqrt(sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, SPACING, strict=True)))
        for centre in ((13, 13, 6), (15, 12, 7))
    ]
    reference = (distance[0] < 9).astype(np.uint8)
    reference[2:5, 2:5, 2:4] = 2
    return reference, (distance[1] < 8.5).astype(np.uint8)


def test_far_tolerances_are_measured_as_near_ones_are(pair):
    """Beyond some reach distances are measured instead: another way to the same numbers."""
    near = satbench.score(*pair, SPACING, [1, 2, 3], CLASSES)
    both = satbench.score(*pair, SPACING, [1, 2, 3, 500], CLASSES)
    far = {(one.class_name, one.tolerance_mm): one for one in both}
    for one in near:
        other = far[one.class_name, one.tolerance_mm]
        assert other["nsd"] == pytest.approx(one["nsd"], abs=1e-12)
        assert other.surface_reference_within_mm2 == pytest.approx(one.surface_reference_within_mm2)
        assert (other.status, other.reference_voxels) == (one.status, one.reference_voxels)
    assert far["organ", 500]["nsd"] == 1
    assert far["lesion", 500]["nsd"] == 0


def test_a_missed_structure_has_no_distance(pair):
    metrics = ["hd95", "hd", "assd", "masd"]
    lesion = satbench.score(*pair, SPACING, 1, CLASSES, metrics=[*metrics, "dsc"])[1]
    assert lesion.status == "prediction_empty"
    assert lesion["dsc"] == 0
    assert all(math.isnan(lesion[name]) for name in metrics)


def test_hd95_is_the_packages(pair):
    organ = satbench.score(*pair, SPACING, 1, CLASSES, metrics=["hd95"])[0]
    assert organ["hd95"] == pytest.approx(expected(pair, 95), abs=1e-9)
    with pytest.raises(BenchError, match="measures no distances"):
        satbench.score(*pair, SPACING, 1, CLASSES, metrics=["hd95"], engine="surface-distance")


def test_other_distances_are_the_packages(pair):
    organ = satbench.score(*pair, SPACING, 1, CLASSES, metrics=["hd", "assd", "masd"])[0]
    assert organ["hd"] == pytest.approx(expected(pair, 100), abs=1e-9)
    found = peer(pair)
    means = surface_distance.compute_average_surface_distance(found)
    assert organ["masd"] == pytest.approx(np.mean(means), abs=1e-9)
    areas = [found[f"surfel_areas_{side}"].sum() for side in ("gt", "pred")]
    assert organ["assd"] == pytest.approx(np.average(means, weights=areas), abs=1e-9)


def expected(pair, robust: float) -> float:
    return float(surface_distance.compute_robust_hausdorff(peer(pair), robust))


def peer(pair):
    with warnings.catch_warnings():
        # The package calls functions that scipy has renamed.
        warnings.simplefilter("ignore")
        return surface_distance.compute_surface_distances(*(side == 1 for side in pair), SPACING)
