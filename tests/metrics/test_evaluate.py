"""`satbench evaluate` on folders as people have them, good and bad."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.metrics.values import distinct_values
from evaluation.schema import SCORES, read_table
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import evaluate
from evaluation.scoring.summary import summarise
from evaluation.volumes.image_files import Volume, read_volume, write_volume

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
EMPTY = Settings(labels={}, answered=frozenset())


def labels(shift: int = 0) -> np.ndarray:
    array = np.zeros((14, 12, 10), dtype=np.uint8)
    array[2:7, 2:9, 2:8] = 1
    array[7:11, 2:9, 2:8] = 2
    return np.roll(array, shift, axis=1)


def run(*arguments: object):
    result = CliRunner().invoke(build(), ["evaluate", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three references in three formats; predictions shifted by 0, 1 and 2 voxels."""
    for shift, suffix in enumerate((".nii.gz", ".nrrd", ".mha")):
        write_volume(tmp_path / f"reference/case{shift}{suffix}", Volume(labels(), AFFINE))
        write_volume(tmp_path / f"prediction/case{shift}.nii.gz", Volume(labels(shift), AFFINE))
    return tmp_path / "reference", tmp_path / "prediction"


def test_folders_of_label_maps_without_any_labels(folders, tmp_path):
    out = tmp_path / "out/scores.parquet"
    result = run(*folders, "--out", out, "--tolerance-mm", 1, "--tolerance-mm", 2, "--jobs", 2)
    assert result.exit_code == 0, result.output
    rows = read_table(out, SCORES)
    assert len(rows) == 3 * 2 * 2
    assert list(rows["class"].unique()) == ["1", "2"]
    exact = rows[rows["case"] == "case0"]
    assert (exact["dsc"] == 1).all()
    assert (exact["nsd"] == 1).all()
    assert rows["model"].unique().tolist() == ["prediction"]
    assert rows["spacing_mm"].unique().tolist() == ["1x1x2"]
    assert "mean of classes" in result.output


def test_labels_file_names_unions_and_csv(folders, tmp_path):
    named = tmp_path / "labels.yaml"
    named.write_text("left: 1\nright: [2]\nboth: [1, 2]\nnowhere: 9\n")
    out = tmp_path / "scores.csv"
    result = run(*folders, "--labels", named, "--out", out, "--policy", "paper")
    assert result.exit_code == 0
    rows = pd.read_csv(out)
    assert set(rows["class"]) == {"left", "right", "both", "nowhere"}
    assert set(rows.loc[rows["class"] == "nowhere", "status"]) == {"both_empty"}
    both = rows[(rows["class"] == "both") & (rows["case"] == "case1")].iloc[0]
    assert both["reference_voxels"] == 9 * 7 * 6
    paper = summarise(rows, "paper").classes.set_index("class")
    present = summarise(rows, "present-only").classes.set_index("class")
    assert (paper.loc["nowhere", "n"], paper.loc["nowhere", "dsc"]) == (3, 1.0)
    assert present.loc["nowhere", "n"] == 0


@pytest.mark.parametrize(
    "content",
    [
        {"labels": {"background": 0, "organ": [1, 2], "tumour": 2, "ignore": 3}},
        {"labels": {"0": "background", "1": "organ", "2": "tumour"}},
    ],
)
def test_dataset_json_beside_the_reference(folders, tmp_path, content):
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    outcome = evaluate(*folders, tmp_path / "s.parquet", EMPTY)
    assert set(outcome.rows["class"]) == {"organ", "tumour"}


def test_folders_of_masks_and_missing_masks(tmp_path):
    for case in ("s1", "s2"):
        for name, value in (("liver", 1), ("spleen", 2), ("aorta", 3)):
            mask = (labels() == value).astype(np.uint8)
            write_volume(tmp_path / f"ref/{case}/segmentations/{name}.nii.gz", Volume(mask, AFFINE))
            if name == "aorta" or (case, name) == ("s2", "spleen"):
                continue
            write_volume(tmp_path / f"pred/{case}/{name}.nii.gz", Volume(mask, AFFINE))
    result = run(tmp_path / "ref", tmp_path / "pred", "--out", tmp_path / "s.parquet")
    assert result.exit_code == 3
    rows = read_table(tmp_path / "s.parquet", SCORES).set_index(["case", "class"])
    assert rows.loc[("s1", "liver"), "dsc"] == 1
    assert rows.loc[("s2", "spleen"), "status"] == "prediction_missing"
    assert "mask file" in rows.loc[("s2", "spleen"), "reason"]
    assert set(rows.xs("aorta", level="class")["status"]) == {"unsupported"}
    assert "no prediction has a mask of 1 classes" in result.output
    maps = tmp_path / "maps"
    for case in ("s1", "s2"):
        write_volume(maps / f"{case}.nii.gz", Volume(labels(), AFFINE))
    named = tmp_path / "labels.yaml"
    named.write_text("liver: 1\nspleen: 2\n")
    result = run(tmp_path / "ref", maps, "--labels", named, "--out", tmp_path / "t.parquet")
    assert result.exit_code == 0, result.output
    # The masks of one case as two plain folders.
    named.write_text("liver: liver\nspleen: spleen.nii.gz\n")
    one = tmp_path / "ref/s1/segmentations", tmp_path / "pred/s1"
    result = run(*one, "--labels", named, "--out", tmp_path / "u.parquet")
    assert result.exit_code == 0, result.output
    assert len(read_table(tmp_path / "u.parquet", SCORES)) == 2


def test_single_files_of_any_name(folders, tmp_path):
    reference, prediction = folders
    result = run(
        reference / "case0.nii.gz", prediction / "case1.nii.gz", "--out", tmp_path / "s.parquet"
    )
    assert result.exit_code == 0
    assert read_table(tmp_path / "s.parquet", SCORES)["case"].unique().tolist() == ["case0"]


def test_bad_predictions_are_named_and_the_others_are_scored(folders, tmp_path):
    reference, prediction = folders
    good = labels()
    bad = {
        "truncated": None,
        "nan": np.where(good == 1, np.nan, good).astype(np.float32),
        "fraction": good.astype(np.float32) * 0.4,
        "four": np.stack([good, good], axis=3),
        "other_shape": good[:-1],
        "other_origin": good,
        "absent": None,
        "text": None,
        "large": good.astype(np.int32) * 100_000,
        "huge": good.astype(np.float32) * np.float32(1e20),
        "link": None,
    }
    for name, array in bad.items():
        write_volume(reference / f"{name}.nii.gz", Volume(good, AFFINE))
        path = prediction / f"{name}.nii.gz"
        if array is not None:
            affine = AFFINE.copy()
            affine[0, 3] = 5.0 * (name == "other_origin")
            write_volume(path, Volume(array, affine))
    whole = gzip.compress((prediction / "nan.nii.gz").read_bytes())
    (prediction / "truncated.nii.gz").write_bytes(whole[: len(whole) // 2])
    (prediction / "text.nii.gz").write_text("no image")
    (prediction / "link.nii.gz").symlink_to("link.nii.gz")
    write_volume(prediction / "stranger.nii.gz", Volume(good, AFFINE))
    named = tmp_path / "labels.yaml"
    named.write_text("left: 1\nright: 2\n")
    result = run(*folders, "--labels", named, "--out", tmp_path / "s.parquet")
    assert result.exit_code == 3
    rows = read_table(tmp_path / "s.parquet", SCORES)
    assert len(rows) == (3 + len(bad)) * 2
    reasons = rows[rows["status"] == "prediction_missing"].groupby("case")["reason"].first()
    assert set(reasons.index) == set(bad)
    assert (rows.loc[rows["status"] == "prediction_missing", "reference_voxels"] > 0).all()
    for name, words in {
        "truncated": "truncated",
        "nan": "NaN",
        "fraction": "not whole numbers",
        "four": "three-dimensional",
        "other_shape": "shape",
        "other_origin": "5 mm",
        "absent": "no prediction",
        "text": "cannot be read",
        "large": "16 bits",
        "huge": "16 bits",
        "link": "leads nowhere",
    }.items():
        assert words in reasons[name], reasons[name]
        assert name in result.output
    assert "stranger" in result.output
    # A prediction on another grid counts if resampling was asked for.
    result = run(
        *folders, "--labels", named, "--out", tmp_path / "t.parquet", "--resample", "nearest"
    )
    rows = read_table(tmp_path / "t.parquet", SCORES).set_index("case")
    moved = rows.loc[["other_shape", "other_origin"]]
    assert set(moved["status"]) == {"scored"}
    assert moved["reason"].str.contains("resampled").all()
    assert not rows.loc["case0", "reason"].str.contains("resampled").any()


def test_a_broken_reference_costs_only_its_own_case(folders, tmp_path):
    reference, _ = folders
    (reference / "case0.nii.gz").write_bytes(b"\x1f\x8b broken")
    outcome = evaluate(*folders, tmp_path / "s.parquet", EMPTY)
    assert list(outcome.failed) == ["case0"]
    assert sorted(outcome.rows["case"].unique()) == ["case1", "case2"]
    write_volume(reference / "case1.nii", Volume(labels(), AFFINE))
    outcome = evaluate(*folders, tmp_path / "s.parquet", EMPTY)
    assert "several files" in outcome.failed["case1"]


def test_flipped_storage_is_the_same_grid(folders, tmp_path):
    _, prediction = folders
    volume = read_volume(prediction / "case0.nii.gz")
    flipped = volume.affine.copy()
    flipped[0] = [-1, 0, 0, 13]
    write_volume(prediction / "case0.nii.gz", Volume(volume.array[::-1], flipped))
    outcome = evaluate(*folders, tmp_path / "s.parquet", EMPTY)
    assert (outcome.rows.loc[outcome.rows["case"] == "case0", "dsc"] == 1).all()


def test_unusable_arguments(folders, tmp_path):
    reference, prediction = folders
    out = tmp_path / "s.parquet"
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other"
    write_volume(other / "unknown.nii.gz", Volume(labels(), AFFINE))
    bad_labels = tmp_path / "bad.yaml"
    for text, words in (
        ("liver: 1.5\n", "no usable label"),
        ("- liver\n", "no mapping"),
        ("liver: [", "cannot be read"),
        ("background: 0\n", "no class"),
        ("liver: ../../x\n", "no usable label"),
        ("liver: liver.nii.gz\n", "has no value"),
        ("liver: 1\nliver: 2\n", "`liver` is there twice"),
        ("classes: {liver: 1}\n", "a mapping, not a label"),
    ):
        bad_labels.write_text(text)
        with pytest.raises(BenchError, match=words):
            run(reference, prediction, "--labels", bad_labels, "--out", out)
    for arguments, words in (
        ((reference, empty), "no segmentation"),
        ((empty, prediction), "no segmentation"),
        ((reference, tmp_path / "nothing"), "no such file"),
        ((reference, prediction / "case0.nii.gz"), "a file and the other a folder"),
        ((reference, other), "no prediction has the name"),
        ((reference, prediction, "--policy", "kind"), "no such choice"),
        ((reference, prediction, "--engine", "fast"), "no such choice"),
        ((reference, prediction, "--patient-pattern", "x"), "no group"),
        ((reference, prediction, "--tolerance-mm", "inf"), "tolerances are unusable"),
    ):
        with pytest.raises(BenchError, match=words):
            run(*arguments, "--out", out)
    with pytest.raises(BenchError, match="format"):
        run(reference, prediction, "--out", tmp_path / "s.xlsx")
    locked = tmp_path / "file"
    locked.write_text("not a folder")
    with pytest.raises(BenchError, match="cannot be written"):
        run(reference, prediction, "--out", locked / "s.parquet")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BenchError, match="output is a folder"):
        run(reference, prediction, "--out", tmp_path / "folder.csv")
    with pytest.raises(BenchError, match="folder cannot be written"):
        run(reference, prediction, "--out", "/proc/s.parquet")
    if os.geteuid() != 0:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        with pytest.raises(BenchError, match="cannot be written"):
            run(reference, prediction, "--out", locked / "s.parquet")


def test_names_that_are_not_utf8(folders, tmp_path):
    for folder in folders:
        target = Path(os.fsdecode(os.fsencode(folder) + b"/m\xfcller.nii.gz"))
        target.write_bytes((folder / "case0.nii.gz").read_bytes())
    outcome = evaluate(*folders, tmp_path / "s.parquet", EMPTY)
    assert "m\\xfcller" in set(read_table(tmp_path / "s.parquet", SCORES)["case"])
    assert not outcome.failed


def test_only_changed_cases_are_measured_again(folders, tmp_path):
    out = tmp_path / "s.parquet"
    assert evaluate(*folders, out, EMPTY).reused == 0
    assert evaluate(*folders, out, EMPTY).reused == 3
    journal = tmp_path / ".s.parquet.cases.jsonl"
    lines = journal.read_text().splitlines()
    # A kill in the middle of a line.
    journal.write_text("\n".join([lines[0], lines[1][:50]]))
    assert evaluate(*folders, out, EMPTY).reused == 1
    write_volume(folders[1] / "case2.nii.gz", Volume(labels(3), AFFINE))
    again = evaluate(*folders, out, EMPTY)
    assert again.reused == 2
    settings = Settings(labels={}, answered=frozenset(), tolerances_mm=(2.0,))
    assert evaluate(*folders, out, settings).reused == 0


def test_a_killed_run_goes_on(folders, tmp_path):
    """SIGKILL after the first case is on disk."""
    script = """
import os, signal, sys
from pathlib import Path
from evaluation.scoring import folders, journal
from evaluation.scoring.folder_pairs import Settings
add = journal.Journal.add
def add_and_die(self, key, rows):
    add(self, key, rows)
    os.kill(os.getpid(), signal.SIGKILL)
journal.Journal.add = add_and_die
folders.evaluate(*map(Path, sys.argv[1:4]), Settings(labels={}, answered=frozenset()))
"""
    out = tmp_path / "s.parquet"
    command = [sys.executable, "-c", script, *map(str, folders), str(out)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9
    assert not out.exists()
    outcome = evaluate(*folders, out, EMPTY)
    assert outcome.reused == 1
    assert len(read_table(out, SCORES)) == 6


def test_two_runs_on_one_output_do_not_mix(folders, tmp_path):
    from evaluation.scoring.journal import Journal

    out = tmp_path / "s.parquet"
    path = tmp_path / ".s.parquet.cases.jsonl"
    with Journal(out, path), pytest.raises(BenchError, match="another run"):
        evaluate(*folders, out, EMPTY)


def test_neither_torch_nor_nnunet_is_loaded(folders, tmp_path):
    script = (
        "import sys\nfrom evaluation.cli import build\n"
        f"build()({['evaluate', *map(str, folders), '--out', str(tmp_path / 's.parquet')]!r}, "
        "standalone_mode=False)\n"
        "assert not {'torch', 'nnunetv2', 'monai'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_real_scans_agree_with_surface_distance(shared, tmp_path):
    source = shared / "data/MSD_Hippocampus/Task04_Hippocampus/labelsTr"
    paths = [p for p in sorted(source.glob("*.nii.gz")) if not p.name.startswith(".")][:4]
    for path in paths:
        volume = read_volume(path)
        write_volume(tmp_path / "reference" / path.name, volume)
        moved = np.roll(volume.array, 1, axis=2)
        write_volume(tmp_path / "prediction" / path.name, Volume(moved, volume.affine))
    frames = []
    for engine in ("sweep", "surface-distance"):
        settings = Settings(
            labels={}, answered=frozenset(), tolerances_mm=(1.0, 2.0), engine=engine
        )
        folders = tmp_path / "reference", tmp_path / "prediction"
        frames.append(evaluate(*folders, tmp_path / f"{engine}.parquet", settings).rows)
    for metric in ("dsc", "nsd"):
        np.testing.assert_allclose(frames[0][metric], frames[1][metric], rtol=0, atol=1e-9)


def test_when_no_reference_can_be_read(folders, tmp_path):
    named = tmp_path / "labels.yaml"
    named.write_text("left: 1\n")
    for path in folders[0].iterdir():
        path.write_bytes(b"nothing")
    result = run(*folders, "--labels", named, "--out", tmp_path / "s.parquet")
    assert result.exit_code == 3
    assert "no case was scored" in result.output
    assert len(read_table(tmp_path / "s.parquet", SCORES)) == 0


def test_what_no_class_names_is_background_and_reported(folders, tmp_path):
    extra = labels().astype(np.int16)
    extra[0, 0, :3] = 7
    extra[0, 1, 0] = -300
    write_volume(folders[1] / "case0.nii.gz", Volume(extra, AFFINE))
    for _ in range(2):  # the second call measures nothing and still says so
        result = run(*folders, "--out", tmp_path / "s.parquet")
        assert result.exit_code == 0
        assert "value 7 belongs to no class" in result.output
        assert "value -300 belongs to no class" in result.output
        assert "1 predictions: case0" in result.output
    rows = read_table(tmp_path / "s.parquet", SCORES)
    assert (rows.loc[rows["case"] == "case0", "dsc"] == 1).all()
    for side, names in (("ref", ("liver",)), ("pred", ("liver", "lung"))):
        for name in names:
            mask = (labels() == 1).astype(np.uint8)
            write_volume(tmp_path / f"{side}/s1/{name}.nii.gz", Volume(mask, AFFINE))
    result = run(tmp_path / "ref", tmp_path / "pred", "--out", tmp_path / "t.parquet")
    assert "mask file lung.nii.gz belongs to no class" in result.output


def test_files_that_cannot_be_searched_for_labels_are_named(folders, tmp_path):
    for path in folders[0].iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(BenchError, match=r"3 of 3 files cannot be used: volume cannot be read"):
        evaluate(*folders, tmp_path / "s.parquet", EMPTY)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int64, bool])
def test_distinct_values_are_those_of_unique(kind):
    generator = np.random.default_rng(0)
    low, high = (0, 2) if kind is bool else (np.iinfo(kind).min, np.iinfo(kind).max)
    array = generator.integers(max(low, -40_000), min(high, 60_000), (7, 6, 5)).astype(kind)
    for view in (array, np.asfortranarray(array), array[::-1, :, ::2]):
        assert distinct_values(view) == set(np.unique(view).tolist())
    assert distinct_values(np.array([-(1 << 40), 3])) == {-(1 << 40), 3}


def test_any_metrics_in_a_named_definition_and_lesions_one_by_one(tmp_path):
    """Percentiles, tolerances, bands, another definition, and a row for each lesion."""
    reference = np.zeros((30, 20, 8), np.uint8)
    reference[2:9, 2:9, 2:6] = 1
    reference[14:17, 3:7, 2:5] = reference[22:25, 10:14, 2:5] = 2
    prediction = np.roll(reference, 1, axis=0)
    prediction[22:27] = 0
    prediction[26:28, 16:18, 2:4] = 2
    for name, array in (("reference", reference), ("prediction", prediction)):
        write_volume(tmp_path / name / "case.nii.gz", Volume(array, AFFINE))
    out = tmp_path / "scores.parquet"
    asked = ["dsc", "nsd@0.5", "nsd@2", "hd95", "hd50", "boundary_iou@2"]
    result = run(
        tmp_path / "reference", tmp_path / "prediction", "--out", out, "--metrics",
        ",".join(asked), "--definition", "voxel-larger", "--instances",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "4 lesions in" in result.output
    rows = pd.read_parquet(out)
    assert set(rows["definition"]) == {"voxel-larger"}
    assert sorted(rows["tolerance_mm"].unique()) == [0.5, 2]
    np.testing.assert_allclose(rows["field_mm"], np.sqrt(30**2 + 20**2 + 16**2))
    import satbench

    expected = satbench.score(
        reference, prediction, (1, 1, 2), classes=[1, 2], metrics=[*asked, "lesion_f1"],
        definition="voxel-larger",
    )  # fmt: skip
    for value in (1, 2):
        found = rows[rows["class"] == str(value)].set_index("tolerance_mm")
        for name in ("dsc", "hd95", "hd50", "boundary_iou@2", "lesion_f1"):
            np.testing.assert_allclose(found[name], expected[value][name], rtol=1e-12)
        assert found["nsd"].to_dict() == {
            at: pytest.approx(expected[value][f"nsd@{at:g}"]) for at in (0.5, 2.0)
        }
    single = pd.read_parquet(tmp_path / "instances.parquet").query("`class` == '2'")
    assert single[["side", "instance", "matched_to", "detected"]].to_numpy().tolist() == [
        ["reference", 1, "1", True],
        ["reference", 2, "", False],
        ["prediction", 2, "", False],
    ]
    assert single["volume_ml"].tolist() == pytest.approx([0.072, 0.072, 0.016])
    assert expected[2]["lesion_f1"] == 0.5
    with pytest.raises(BenchError, match="matching rule"):
        run(tmp_path / "reference", tmp_path / "prediction", "--out", out, "--matching", "best")
    assert CliRunner().invoke(build(), ["metrics", "--definitions"]).output.count("NSD at") == 3
    assert "brats-2023-met" in CliRunner().invoke(build(), ["metrics", "--protocols"]).output


def test_several_models_share_each_reference(folders, tmp_path, monkeypatch):
    from evaluation.scoring import folder_pairs

    reference, prediction = folders
    other = tmp_path / "other"
    for case in range(2):
        write_volume(other / f"case{case}.nii.gz", Volume(labels(2), AFFINE))
    read, original = [], folder_pairs.read_segmentation
    monkeypatch.setattr(
        folder_pairs, "read_segmentation",
        lambda source, *more: read.append(source.path) or original(source, *more),
    )  # fmt: skip
    out = tmp_path / "out/scores.parquet"
    result = run(reference, prediction, other, "--out", out, "--jobs", 2, "--instances")
    assert result.exit_code == 3, "one case of the second model is missing"
    assert "other: prediction missing: case2: no prediction of this name" in result.output
    assert len([path for path in read if path.parent == reference]) == 3
    for folder in (prediction, other):
        alone = tmp_path / f"{folder.name}.parquet"
        run(reference, folder, "--out", alone, "--instances")
        for name in ("scores.parquet", "instances.parquet"):
            file = tmp_path / "instances.parquet" if name[0] == "i" else alone
            together = pd.read_parquet(tmp_path / "out/scores" / folder.name / name)
            pd.testing.assert_frame_equal(together, pd.read_parquet(file))
    read.clear()
    again = run(reference, prediction, other, "--out", out, "--instances")
    assert again.output.count("3 cases were scored before") == 2
    assert read == []
    with pytest.raises(BenchError, match="one name"):
        run(reference, prediction, prediction, "--out", out)
    with pytest.raises(BenchError, match="unknown format"):
        run(reference, prediction, other, "--out", ".")
