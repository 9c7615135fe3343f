"""`satbench evaluate` on DICOM objects that hold segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.datasets.readers.dicom import image_series, read_series, series_files
from evaluation.errors import BenchError
from evaluation.scoring.contours import read_rtstruct
from evaluation.volumes.dicom_segments import read_seg, write_seg
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.volumes.segmentation import Segmentation
from tests.bench.dicom import write_ct, write_rtstruct

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


SPACING, ORIGIN = (1.1, 0.8, 2.5), (-20.0, -30.0, 100.0)


def ring(x: tuple[int, int], y: tuple[int, int], z: int) -> list[tuple[float, float, float]]:
    """A rectangle round the centres of the voxels x[0]..x[1]-1, y[0]..y[1]-1 of a slice, in mm."""
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    step, first = SPACING, ORIGIN
    return [
        (first[0] + step[0] * (i - 0.5), first[1] + step[1] * (j - 0.5), first[2] + step[2] * z)
        for i, j in corners
    ]


@pytest.fixture
def drawn(series, tmp_path: Path) -> tuple[Path, Volume]:
    """An organ with a hole in it, and a tumour over its rim; and the same as masks."""
    volume, _ = series
    organ = np.zeros(volume.array.shape, np.uint8)
    organ[4:20, 3:18, 2:9] = 1
    organ[8:12, 6:10, 2:9] = 0
    tumour = np.zeros_like(organ)
    tumour[16:24, 5:9, 4:6] = 1
    for name, mask in (("organ", organ), ("tumour", tumour)):
        write_volume(tmp_path / f"maps/c/{name}.nii.gz", Volume(mask, volume.affine))
    contours = {
        "organ": [
            ring(*place, z)
            for z in range(2, 9)
            for place in (((4, 20), (3, 18)), ((8, 12), (6, 10)))
        ],
        "tumour": [ring((16, 24), (5, 9), z) for z in (4, 5)],
        "not asked for": [ring((0, 3), (0, 3), 1)],
    }
    frame = pydicom.dcmread(tmp_path / "ct/000.dcm").FrameOfReferenceUID
    write_rtstruct(tmp_path / "rs/c.dcm", contours, frame)
    return tmp_path, volume


def test_contours_are_drawn_on_the_references_grid_with_their_holes(drawn) -> None:
    place, _ = drawn
    found = scores(place, place / "maps", place / "rs")
    assert found["dsc"].to_dict() == {"organ": 1, "tumour": 1}


def test_contours_beside_their_series_need_nothing_else(drawn) -> None:
    place, _ = drawn
    (place / "cases/c").mkdir(parents=True)
    (place / "rs/c.dcm").rename(place / "cases/c/RS.dcm")
    for file in (place / "ct").iterdir():
        file.rename(place / "cases/c" / file.name)
    found = scores(place, place / "cases", place / "maps")
    assert found["dsc"].dropna().to_dict() == {"organ": 1, "tumour": 1}
    assert found.loc["not asked for", "status"] == "unsupported"
    itself = scores(place, place / "cases", place / "cases")
    assert itself["dsc"].tolist() == [1, 1, 1]


def test_contours_and_a_seg_of_fewer_slices(drawn, series) -> None:
    place, volume = drawn
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[16:24, 5:9, 5:6] = 1
    write_seg(place / "segs/c.dcm", series[1], ["tumour"], lambda _: labels == 1, labels)
    found = scores(place, place / "segs", place / "rs")
    assert found.loc["tumour", "prediction_voxels"] == 8 * 4 * 2
    assert found.loc["tumour", "dsc"] == pytest.approx(2 * 1 / (1 + 2))


def test_contours_without_a_grid_or_off_it_are_refused(drawn) -> None:
    place, volume = drawn
    asked = [place / "rs", place / "maps"]
    told = ["evaluate", *map(str, asked), "--out", str(place / "x.csv")]
    result = CliRunner().invoke(build(), told)
    assert "has no voxels of its own" in " ".join(result.output.split())
    affine = volume.affine.copy()
    affine[2, 3] += 1.2
    write_volume(place / "between/c.nii.gz", Volume(labels_of(volume), affine))
    write_volume(place / "short/c.nii.gz", Volume(labels_of(volume)[..., :6], volume.affine))
    for folder, words in (("between", "do not lie on the slices"), ("short", "beyond the scan")):
        (place / "labels.yaml").write_text("organ: 1\ntumour: 2\n")
        result = CliRunner().invoke(
            build(), ["evaluate", str(place / folder), str(place / "rs"), "--out",
                      str(place / f"{folder}.csv"), "--labels", str(place / "labels.yaml")],
        )  # fmt: skip
        assert result.exit_code == 3
        assert words in " ".join(result.output.split())


def test_contours_that_enclose_nothing_and_points_that_are_no_place(
    series: tuple[Volume, list[Path]], tmp_path: Path
) -> None:
    volume, _ = series
    grid = Segmentation((np.zeros(volume.array.shape, np.uint8),), volume.affine, {})
    square = [volume.affine @ (x, y, 4, 1) for x, y in ((3, 3), (9, 3), (9, 9), (3, 9))]
    points = [(-float(x), -float(y), float(z)) for x, y, z, _ in square]
    path = tmp_path / "case.dcm"
    write_rtstruct(path, {"liver": [points]})
    alone = read_rtstruct(path, {"liver"}, grid).mask("liver")
    write_rtstruct(path, {"liver": [points, [], points[:1], points[:2]]})
    np.testing.assert_array_equal(read_rtstruct(path, {"liver"}, grid).mask("liver"), alone)
    assert alone.any()
    content = pydicom.dcmread(path)
    item = content.ROIContourSequence[0].ContourSequence[0]
    with pytest.warns(UserWarning, match="Invalid value for VR DS"):
        item.ContourData = ["nan"] * 12
    content.save_as(path)
    with pytest.raises(BenchError, match="a point that is no place"):
        read_rtstruct(path, {"liver"}, grid)


def test_a_slice_far_away_is_refused_before_it_fills_the_memory(
    series: tuple[Volume, list[Path]], tmp_path: Path
) -> None:
    volume, slices = series
    labels = labels_of(volume)
    path = tmp_path / "case.dcm"
    write_seg(path, slices, ["liver", "spleen"], lambda _name: labels > 0, labels)
    content = pydicom.dcmread(path)
    place = content.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient = [*place.ImagePositionPatient[:2], 100 + 2.5 * 10**9]
    content.save_as(path)
    with pytest.raises(BenchError, match="does not fit into memory"):
        read_seg(path)
