"""The benchmark runs at a small size; no test asserts a time."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.volumes.image_files import Volume, write_volume
from tests.bench import distances
from tests.bench.bodies import whole_body_pair
from tests.bench.metrics import report_lines, run_benchmark


def test_synthetic_case_is_reproducible_and_plausible():
    shape, spacing = (96, 96, 80), (4.0, 4.0, 8.0)
    first = whole_body_pair(shape, spacing, 30)
    again = whole_body_pair(shape, spacing, 30)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(np.unique(first[0])) > 25
    assert first[0].flags.f_contiguous


def test_benchmark_reports_ratios_and_no_difference(tmp_path):
    results = run_benchmark(shape=(40, 40, 30), n_labels=8, rounds=1, drawn=2)
    assert results["largest_nsd_difference"]["surface-distance, whole volume"] < 1e-9
    assert results["largest_nsd_difference"]["surface-distance, cropped"] < 1e-9
    assert any("x sweep" in line for line in report_lines(results))
    labels = whole_body_pair((30, 30, 20), (3.0, 3.0, 5.0), 5)[0]
    write_volume(tmp_path / "real.nii.gz", Volume(labels, np.diag([3.0, 3.0, 5.0, 1.0])))
    results = run_benchmark(data=tmp_path / "real.nii.gz", rounds=1, drawn=1)
    assert 0 < results["mean_dsc"] <= 1
    masks = tmp_path / "masks"
    for value in (1, 2):
        mask = Volume((labels == value).astype(np.uint8), np.diag([3.0, 3.0, 5.0, 1.0]))
        write_volume(masks / f"{value}.nii.gz", mask)
    results = run_benchmark(data=masks, shape=(60, 45, 40), rounds=1, drawn=1)
    assert results["shape"] == [60, 45, 40]
    assert results["spacing_mm"] == [1.5, 2.0, 2.5]
    assert results["classes"] == 2
    assert results["largest_nsd_difference"]["surface-distance, whole volume"] < 1e-9


@pytest.mark.filterwarnings("ignore")  # the peers' own
def test_distances_on_real_data_and_several_cores(tmp_path):
    labels = whole_body_pair((40, 36, 24), (3.0, 3.0, 5.0), 6)[0]
    write_volume(tmp_path / "real.nii.gz", Volume(labels, np.diag([3.0, 3.0, 5.0, 1.0])))
    found = distances.run(None, 0, 1, 2, 3.0, tmp_path / "real.nii.gz")
    assert found["shape"] == (40, 36, 24)
    assert found["spacing in mm"] == (3, 3, 5)
    assert max(found["largest difference"].values()) < 1e-5
    assert found["all distances and boundary IoU on several cores"]["jobs"] == 2
