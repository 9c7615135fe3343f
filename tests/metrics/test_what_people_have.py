"""Small inputs that once gave wrong answers, and the right ones."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from evaluation.errors import BenchError
from evaluation.scoring import folder_pairs
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import Outcome, evaluate
from evaluation.scoring.labels import Label, read_labels_file, without_ignored


@pytest.fixture
def outcome(shared: Path, tmp_path: Path):
    """Score one of the inputs."""
    spec = importlib.util.spec_from_file_location("inputs", shared / "cases/make_inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def score(case: str, labels: str | None = None) -> Outcome:
        root = tmp_path / case
        getattr(module, case)(root)
        file = root / labels if labels else None
        settings = Settings(labels={}, answered=frozenset())
        return evaluate(root / "ref", root / "pred", tmp_path / "o.csv", settings, file)

    return score


def test_a_lost_spacing_is_found_again(outcome):
    found = outcome("spacing_lost")
    assert set(found.rows["spacing_mm"]) == {"1.31579x1.31579x10"}
    assert found.rows["nsd"].mean() == pytest.approx(0.8865, abs=5e-5)
    assert "the sform has lost the spacing" in found.geometry["p"]


def test_metres_are_not_millimetres(outcome):
    found = outcome("units")
    assert set(found.rows["spacing_mm"]) == {"1x1x1"}
    assert found.rows["nsd"].mean() == pytest.approx(0.6672, abs=5e-5)


def test_another_byte_order_is_scored(outcome):
    rows = outcome("big_endian").rows
    assert len(rows) == 4
    assert rows["dsc"].mean() == pytest.approx(0.71875)


def test_borrowed_voxels_are_no_prediction(outcome):
    found = outcome("borrowed")
    assert "outside its folder" in found.missing["c"]
    assert set(found.rows["status"]) == {"prediction_missing"}


def test_ignored_voxels_count_on_neither_side(outcome):
    rows = outcome("ignored").rows
    assert set(rows["class"]) == {"organ", "tumour"}
    assert (rows[["dsc", "nsd"]] == 1).all(axis=None)


def test_two_files_of_one_class_are_refused(outcome):
    found = outcome("two_endings")
    assert "liver.nii and liver.nii.gz" in found.missing["s"]


def test_a_dotted_class_takes_no_others_file(outcome):
    found = outcome("dotted_classes")
    status = dict(zip(found.rows["class"], found.rows["status"], strict=True))
    assert set(status.values()) == {"prediction_missing"}
    assert set(status) == {"kidney.left", "kidney.right"}


def test_a_label_map_in_a_case_folder_is_never_made_binary(outcome):
    """Both classes are exchanged: as one mask they would score 1."""
    rows = outcome("label_map_in_case_folder").rows
    assert rows[["case", "class", "dsc"]].to_numpy().tolist() == [
        ["case_00000", "1", 0.0],
        ["case_00000", "2", 0.0],
    ]


def test_two_values_of_one_name_are_one_class(outcome):
    rows = outcome("name_twice", "labels.json").rows
    assert list(rows["class"]) == ["tumor"]
    assert rows["reference_voxels"].tolist() == [756]


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        ("site{site}/c{case}.nii.gz", "site{site}/c{case}.nii.gz"),
        ("s/c{case}/label.nii.gz", "s/c{case}/prediction.nii.gz"),
        ("c{case}/label.nii.gz", "c{case}.nii.gz"),
        ("c{case}.nii.gz", "c{case}/label.nii.gz"),
    ],
)
def test_folders_of_label_maps_by_site_and_case(tmp_path, reference, prediction):
    """Classes exchanged; a case of one organ, beside an image, is a label map like the others."""
    array = np.zeros((8, 8, 8), np.uint8)
    array[1:4], array[4:7] = 1, 2
    exchanged = np.choose(array, [0, 2, 1]).astype(np.uint8)
    for case in range(3):
        for side, place, voxels in (
            ("ref", reference, np.where(array == 1, 1, 0).astype(np.uint8) if case == 0 else array),
            ("pred", prediction, exchanged),
        ):
            path = tmp_path / side / place.format(case=case, site=case % 2)
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
            if side == "ref" and path.stem.startswith("label"):
                image = np.arange(512, dtype=np.int16).reshape(8, 8, 8) - 300
                nib.save(nib.Nifti1Image(image, np.eye(4)), path.with_name("imaging.nii.gz"))
    settings = Settings(labels={}, answered=frozenset())
    found = evaluate(tmp_path / "ref", tmp_path / "pred", tmp_path / "o.csv", settings)
    assert len(found.rows) == 6
    assert set(found.rows["class"]) == {"1", "2"}
    assert set(found.rows["dsc"].dropna()) == {0.0}
    assert not found.missing


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"liver": false}', "no usable label"),
        ('{"liver": [false]}', "no usable label"),
        ('{"liver": 1000000000000000000000000000000}', "no label map holds"),
        ('{"liver": 1, "liver": 2}', "there twice"),
        ('{"cafe\\u0301": 1, "caf\\u00e9": 2}', "there twice"),
        ("[" * 100_000, "nested"),
    ],
)
def test_labels_that_cannot_be_meant(tmp_path, content, words):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(BenchError, match=words) as caught:
        read_labels_file(path)
    assert str(path) in str(caught.value)


def test_a_raised_digit_is_a_name(tmp_path):
    (tmp_path / "labels.json").write_text('{"²": "liver"}')
    assert read_labels_file(tmp_path / "labels.json") == {"²": Label(file="liver")}


def test_what_is_ignored_is_no_class(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": {"background": 0, "organ": [1, 2], "ignore": 3}}))
    classes, ignored = without_ignored(read_labels_file(path))
    assert classes == {"organ": Label(values=(1, 2))}
    assert ignored == (3,)
    path.write_text(json.dumps({"labels": {"background": 0, "ignore": 3}}))
    with pytest.raises(BenchError, match="no class"):
        read_labels_file(path)


def test_rows_are_journaled_with_what_was_ignored(tmp_path):
    """Another value to ignore is another question: nothing old is reused."""
    array = np.zeros((6, 6, 6), np.uint8)
    array[1:4, 1:4, 1:4], array[4:, 4:, 4:] = 1, 2
    guess = np.where(array == 2, 0, array)
    guess[4:, 4:, 4:] = 1
    for side, voxels in (("ref", array), ("pred", guess)):
        (tmp_path / side).mkdir()
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / side / "c.nii.gz")
    labels, scores = tmp_path / "labels.json", []
    for ignored in ({}, {"ignore": 2}):
        labels.write_text(json.dumps({"organ": 1, **ignored}))
        settings = Settings(labels={}, answered=frozenset())
        sides = tmp_path / "ref", tmp_path / "pred"
        found = evaluate(*sides, tmp_path / "o.parquet", settings, labels)
        scores.append(found.rows["dsc"].tolist())
        assert found.reused == 0
    assert scores == [[pytest.approx(2 * 27 / (27 + 35))], [1.0]]
    assert len(pd.read_parquet(tmp_path / "o.parquet")) == 1


@pytest.mark.parametrize("fault", [PermissionError(13, "denied"), MemoryError(), ValueError("odd")])
def test_what_a_prediction_raises_is_its_status_until_it_can_be_read(tmp_path, monkeypatch, fault):
    """The files stay as they are, so that only the fault itself could be remembered."""
    read = folder_pairs.read_segmentation
    broken = True

    def faulty(source, *arguments):
        if broken and source.path == tmp_path / "pred/b.nii.gz":
            raise fault
        return read(source, *arguments)

    monkeypatch.setattr(folder_pairs, "read_segmentation", faulty)
    array = np.zeros((6, 6, 6), np.uint8)
    array[1:4, 1:4, 1:4] = 1
    for side in ("ref", "pred"):
        (tmp_path / side).mkdir()
        for case in "ab":
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / side / f"{case}.nii.gz")

    def scored() -> Outcome:
        settings = Settings(labels={"organ": Label((1,))}, answered=frozenset())
        return evaluate(tmp_path / "ref", tmp_path / "pred", tmp_path / "o.csv", settings)

    found = scored()
    assert found.failed == {}
    assert found.rows["status"].tolist() == ["scored", "prediction_missing"]
    assert type(fault).__name__ in found.rows["reason"][1]
    broken = False
    found = scored()
    assert found.rows["status"].tolist() == ["scored", "scored"]
    assert found.reused == 1
