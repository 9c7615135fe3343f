"""`satbench evaluate` on DICOM objects that hold segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.datasets.readers.dicom import image_series, read_series, series_files
from evaluation.errors import BenchError
from evaluation.volumes.dicom_segments import write_seg
from evaluation.volumes.image_files import Volume, write_volume
from tests.bench.dicom import write_ct

Array = Any


@pytest.fixture
def series(tmp_path: Path) -> tuple[Volume, list[Path]]:
    """A CT (x, y, z) of voxels of three sizes, and its slices in order."""
    write_ct(tmp_path / "ct", np.zeros((30, 24, 12), np.int16), (1.1, 0.8, 2.5), (-20, -30, 100))
    files = image_series(series_files(tmp_path / "ct"))
    found = read_series(files)
    return found.volume, [files[i] for i in found.order]


def labels_of(volume: Volume) -> Array:
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[5:20, 3:9, 4:7] = 1
    labels[5:20, 10:14, 5:8] = 2
    return labels


def scores(tmp_path: Path, *arguments: object) -> pd.DataFrame:
    out = tmp_path / "scores.csv"
    asked = ["evaluate", *arguments, "--out", out]
    result = CliRunner().invoke(build(), list(map(str, asked)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return pd.read_csv(out, dtype={"class": str}).set_index("class")


@pytest.mark.parametrize("overlap", [False, True])
def test_seg_on_either_side_scores_as_the_label_maps(series, tmp_path, overlap):
    volume, slices = series
    labels = labels_of(volume)
    masks = {"liver": labels == 1, "spleen": labels >= 1 if overlap else labels == 2}
    masks["absent"] = labels == 9
    for name, mask in masks.items():
        write_volume(
            tmp_path / f"maps/case/{name}.nii.gz", Volume(mask.astype(np.uint8), volume.affine)
        )
        moved = np.roll(mask, (2, 1), (0, 2)).astype(np.uint8)
        write_volume(tmp_path / f"moved/case/{name}.nii.gz", Volume(moved, volume.affine))
    write_seg(
        tmp_path / "segs/case.dcm",
        slices,
        list(masks),
        masks.__getitem__,
        None if overlap else labels,
    )
    wanted = scores(tmp_path, tmp_path / "maps", tmp_path / "moved")
    turned = scores(tmp_path, tmp_path / "segs", tmp_path / "moved")
    assert wanted.loc[["liver", "spleen"], "status"].tolist() == ["scored", "scored"]
    assert 0.5 < wanted.loc["liver", "dsc"] < 1
    for column in ("status", "dsc", "nsd", "reference_voxels", "prediction_voxels"):
        pd.testing.assert_series_equal(turned[column], wanted[column])
    itself = scores(tmp_path, tmp_path / "maps", tmp_path / "segs")
    assert itself.loc[["liver", "spleen"], "dsc"].tolist() == [1, 1]


def test_a_seg_of_another_grid_is_refused_by_case(series, tmp_path):
    volume, slices = series
    labels = labels_of(volume)
    affine = volume.affine.copy()
    affine[0, 3] += 0.3
    write_volume(tmp_path / "ref/case.nii.gz", Volume(labels, affine))
    write_volume(tmp_path / "cut/case.nii.gz", Volume(labels[..., :6], volume.affine))
    write_seg(tmp_path / "segs/case.dcm", slices, ["1", "2"], None, labels)
    for reference in ("ref", "cut"):
        asked = [
            "evaluate",
            str(tmp_path / reference),
            str(tmp_path / "segs"),
            "--out",
            str(tmp_path / f"{reference}.csv"),
        ]
        result = CliRunner().invoke(build(), asked, catch_exceptions=False)
        assert result.exit_code == 3
        assert "another grid" in " ".join(result.output.split())


def test_without_highdicom_the_message_names_the_extra(series, tmp_path, monkeypatch):
    volume, slices = series
    monkeypatch.setattr("evaluation.volumes.dicom_segments.find_spec", lambda _: None)
    with pytest.raises(BenchError, match=r"satbench\[clinical\]"):
        write_seg(tmp_path / "case.dcm", slices, ["1", "2"], None, labels_of(volume))
