"""What `data check` says of a dataset in numbers, and which scans it names as unlike the others."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.datasets.fingerprint import SAMPLE, Fingerprint, fingerprint, unlike
from evaluation.datasets.templates import write_dataset_card
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

ORGAN = {"organ": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1, 2)),))}


def scan(seed: int, kept: float = 0.3, unit: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Grey values in a part of the field of view, zero around it, and an organ of two labels."""
    rng = np.random.default_rng(seed)
    image = rng.gamma(4, 50, (20, 20, 20)) * unit + unit
    image[:, :, round(20 * (kept + rng.uniform(-0.05, 0.05))) :] = 0
    labels = np.zeros(image.shape, np.uint8)
    size = 5 + seed % 2
    labels[:size, :5, :5], labels[0, 0, 0] = 1, 2
    return image.astype(np.float32), labels


def printed(seed: int, kept: float = 0.3, unit: float = 1.0, mm: float = 1.0) -> Fingerprint:
    image, labels = scan(seed, kept, unit)
    affine = np.diag([mm, 1, 2, 1])
    return fingerprint(Volume(image, affine), Segmentation((labels,), affine, ORGAN), "mri", "T1")


def test_numbers_are_those_of_the_scan() -> None:
    image, labels = scan(0)
    found = printed(0, mm=0.5)
    assert found.kind == "mri T1"
    assert found.spacing_mm == (0.5, 1, 2)
    assert found.extent_mm == (10, 20, 40)
    assert found.nonzero == pytest.approx((image != 0).mean())
    assert found.intensities == pytest.approx(np.percentile(image, (0.5, 50, 99.5)), rel=1e-6)
    assert found.volume_ml == {"organ": pytest.approx((labels > 0).sum() * 1.0 / 1000)}


def test_a_large_scan_is_sampled_evenly() -> None:
    ramp = np.linspace(0, 1000, 400)[:, None, None] * np.ones((1, 100, 80))
    empty = Segmentation((np.zeros(ramp.shape, np.uint8),), np.eye(4), {})
    found = fingerprint(Volume(ramp, np.eye(4)), empty, "ct", None)
    assert ramp.size > 10 * SAMPLE
    assert found.intensities == pytest.approx((5, 500, 995), abs=15)


def test_scans_of_another_kind_are_named_and_no_others() -> None:
    """42 scans cropped to the head and four that are not, the find that this is made for."""
    prints = {f"s{i}": printed(i) for i in range(42)}
    assert list(unlike(prints)) == []
    odd = {f"full{i}": printed(i, kept=0.95) for i in range(4)}
    named = {case for case, words in unlike(prints | odd) if "share of voxels not 0" in words}
    assert named == set(odd)
    coarse = [w for case, w in unlike(prints | {"c": printed(3, mm=9.0)}) if case == "c"]
    assert "along x, mm; 9, of the middle half of 43 mri T1 scans 1 to 1" in coarse[0]


def test_the_unit_of_mr_says_nothing() -> None:
    prints = {f"s{i}": printed(i, unit=10.0 ** (i % 6)) for i in range(30)}
    assert list(unlike(prints)) == []


def test_a_class_that_one_scan_lacks_is_missed() -> None:
    prints = {f"s{i}": printed(i) for i in range(12)}
    image, labels = scan(50)
    nothing = Segmentation((labels * 0,), np.eye(4), ORGAN)
    lone = fingerprint(Volume(image, np.diag([1, 1, 2, 1])), nothing, "mri", "T1")
    ((case, words),) = unlike(prints | {"lone": lone})
    assert case == "lone"
    assert "no volume of organ, ml; 12 of 13" in words


def test_the_check_prints_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_dataset_card("heads")
    card = yaml.safe_load(path.read_text()) | {
        "modality": "mri", "regions": ["brain"], "folder": "Heads", "expected_cases": 13,
        "split": {"train": 10, "test": 3, "rule": "seeded"},
        "classes": [{"name": "organ", "values": [1, 2]}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(card))
    for i in range(13):
        image, labels = scan(i, 0.95 if i == 7 else 0.3)
        for kind, array in (("images", image), ("labels", labels)):
            write_volume(tmp_path / f"raw/Heads/{kind}/h{i}.nii.gz", Volume(array, np.eye(4)))
    found = CliRunner().invoke(
        build(), ["data", "check", "--raw-root", "raw", "--dataset", "heads"]
    )
    assert found.exit_code == 0, found.output
    assert "note: heads h7: unlike the others: share of voxels not 0" in found.output
    assert "heads: 13 mri scans" in found.output
    assert found.output.count("unlike the others: share") == 1
