"""Raters against each other: values by hand, in every layout, and what a rater left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isnan
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import RunConfig, freeze
from evaluation.datasets.check import check_root
from evaluation.datasets.raters import RaterMasks
from evaluation.datasets.registry import find_card
from evaluation.datasets.templates import write_dataset_card
from evaluation.errors import BenchError
from evaluation.metrics.distances.distribution import Distribution
from evaluation.paths import RunPaths
from evaluation.schema import RATERS, SCORES, read_table
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.rater_distances import in_configuration
from evaluation.scoring.rater_inputs import card_inputs
from evaluation.scoring.raters import HUMAN, raters_by_pattern, raters_in_folders, score_raters
from evaluation.scoring.run_raters import raters_of_run
from evaluation.workflow.plan import plan_entries

SHAPE, AFFINE = (24, 12, 8), np.diag([1.0, 1.0, 2.0, 1.0])
# By how many voxels along x each rater moves the box of 8 voxels: DSC is 1 - move / 8.
MOVES = {"p1": (0, 1, 2), "p2": (0, 0, 4), "p3": (0, 2, 2), "p4": (1, 1, 2)}
LIVER_DSC = {"p1": (7 / 8 + 6 / 8 + 7 / 8) / 3, "p2": 2 / 3, "p3": (6 / 8 + 6 / 8 + 1) / 3,
             "p4": (1 + 7 / 8 + 7 / 8) / 3}  # fmt: skip


def label_map(case: str, rater: int) -> NDArray[np.uint8]:
    """Value 1 is the moved box, value 2 one that all draw alike."""
    array = np.zeros(SHAPE, np.uint8)
    move = MOVES[case][rater - 1]
    array[4 + move : 12 + move, 3:9, 2:6] = 1
    array[20:23, 3:9, 2:6] = 2
    return array


def save(path: Path, array: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


SETTINGS = Settings(labels={}, answered=frozenset(), dataset="boxes")
BY_CASE = RaterMasks(masks="{case}/{rater}.nii.gz")
LAYOUTS = {
    "by_case": "{case}/{rater}.nii.gz",
    "by_rater": "{rater}/{case}.nii.gz",
    "stacked": "{case}.nii.gz",
    "masks": "{case}/task{class}_seg{rater}.nii.gz",
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Folders `by_case`, `by_rater`, `stacked`, `masks`: the same drawings in each."""
    for case in MOVES:
        maps = [label_map(case, rater) for rater in (1, 2, 3)]
        save(tmp_path / "stacked" / f"{case}.nii.gz", np.stack(maps, -1))
        for rater, array in enumerate(maps, 1):
            save(tmp_path / "by_case" / case / f"rater{rater}.nii.gz", array)
            save(tmp_path / "by_rater" / f"rater{rater}" / f"{case}.nii.gz", array)
            for value in (1, 2):
                mask = (array == value).astype(np.float64)
                name = f"task0{value}_seg0{rater}.nii.gz"
                save(tmp_path / "masks" / case / name, mask)
            save(tmp_path / "masks" / case / "image.nii.gz", np.ones(SHAPE, np.float32))
    return tmp_path


@pytest.fixture
def write_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the card `boxes`, of a folder below the raw root `tmp_path`, changed by keywords."""
    monkeypatch.chdir(tmp_path)

    def write(**changes: object) -> None:
        path = Path("config/datasets/boxes.yaml")
        if not path.exists():
            write_dataset_card("boxes")
        card = yaml.safe_load(path.read_text()) | {
            "classes": [{"name": "liver", "values": [1]}, {"name": "spleen", "values": [2]}],
            "split": {"train": 0, "test": 4, "rule": "none"},
            "expected_cases": 4, "expected_patients": 4,
        } | changes  # fmt: skip
        path.write_text(yaml.safe_dump(card))

    return write


def ceiling(*arguments: object) -> str:
    done = CliRunner().invoke(build(), ["ceiling", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_values_by_hand(raw: Path, layout: str) -> None:
    out = raw / "raters.parquet"
    ceiling(raw / layout, "--masks", LAYOUTS[layout], "--dataset", "boxes", "--out", out)
    rows = read_table(out, SCORES)
    liver = rows[rows["class"].isin(["1", "01"])].set_index("case")["dsc"]
    assert dict(liver) == pytest.approx(LIVER_DSC)
    assert (rows[rows["class"].isin(["2", "02"])]["dsc"] == 1).all()
    assert set(rows["model"]) == {HUMAN}


def test_folders_of_raters_are_the_same_as_a_pattern(raw: Path) -> None:
    folders = [raw / "by_rater" / f"rater{n}" for n in (1, 2, 3)]
    (folders[2] / "p1.nii.gz").unlink()
    raters, labels = raters_in_folders(folders)
    found = score_raters(raters, raw, SETTINGS, (labels, "") if labels else None)
    liver = found.human[found.human["class"] == "1"].set_index("case")["dsc"]
    assert liver["p1"] == pytest.approx(7 / 8), "two raters drew this case"
    assert liver["p3"] == pytest.approx(LIVER_DSC["p3"])
    assert found.lacking == ("p1: no masks of rater3",)
    with pytest.raises(BenchError, match="raters cannot be compared"):
        raters_in_folders(folders[:1])


def test_two_of_a_kind_and_files_of_several_parts_are_one_mask(raw: Path) -> None:
    pattern = RaterMasks(masks="{case}/{class}_instance-{n}_annotation-{rater}.nii.gz")
    for rater in (1, 2):
        for part, box in enumerate((np.s_[2:6], np.s_[12:16] if rater == 1 else np.s_[14:18])):
            mask = np.zeros((24, 4, 4), np.uint8)
            mask[box] = 1
            name = f"kidney_instance-{part}_annotation-{rater}.nii.gz"
            save(raw / "kits" / "case_1" / name, mask)
    found = score_raters(raters_by_pattern(raw / "kits", pattern), raw, SETTINGS)
    # 8 slices each, 6 of them shared.
    assert found.human["dsc"].tolist() == [pytest.approx(6 / 8)]


def test_who_is_named_first_does_not_matter(raw: Path) -> None:
    """A class that one of two leaves out is disagreement, whichever of the two it is."""
    save(raw / "by_case" / "p1" / "rater1.nii.gz", label_map("p1", 1) % 2)
    save(raw / "by_case" / "p2" / "rater3.nii.gz", label_map("p2", 3) % 2)
    found = score_raters(raters_by_pattern(raw / "by_case", BY_CASE), raw, SETTINGS)
    spleen = found.human[found.human["class"] == "2"].set_index("case")
    # Two of the three pairs have one empty side.
    assert dict(spleen["dsc"]) == pytest.approx({"p1": 1 / 3, "p2": 1 / 3, "p3": 1, "p4": 1})
    assert set(spleen["status"]) == {"scored"}


def test_the_tolerance_is_the_95th_percentile_of_all_distances_of_raters(raw: Path) -> None:
    raters = raters_by_pattern(raw / "by_case", BY_CASE)
    found = score_raters(raters, raw, SETTINGS)
    tolerances = found.tolerances.set_index("class")["tolerance_mm"]
    assert tolerances["2"] == 0
    # At the tolerance, 95 % of all surface lies within it, and below it less does.
    for tolerance, enough in ((tolerances["1"], True), (tolerances["1"] - 1e-6, False)):
        at = Settings(labels={}, answered=frozenset(), tolerances_mm=(tolerance,), dataset="boxes")
        rows = score_raters(raters, raw, at).pairs
        rows = rows[rows["class"] == "1"]
        within = rows.filter(regex="surface_.*_within_mm2").to_numpy().sum()
        total = rows.filter(regex="surface_.*_total_mm2").to_numpy().sum()
        assert (within / total >= 0.95 - 1e-9) == enough
    assert in_configuration(2**0.5) == 1.42
    assert in_configuration(2.0) == 2.0
    empty = Distribution.of(np.array([1.0]), np.array([0.0]))
    assert not empty.distances_mm.size


def test_the_line_of_raters_stands_beside_a_model(raw: Path) -> None:
    out, model = raw / "raters.parquet", raw / "model.parquet"
    named = ("--dataset", "boxes", "--out", out)
    said = ceiling(raw / "by_case", "--masks", LAYOUTS["by_case"], *named)
    assert "in a run's configuration: tolerance_mm: [0, " in said
    pair = [str(raw / "by_rater" / f"rater{n}") for n in (1, 2)]
    done = CliRunner().invoke(
        build(), ["evaluate", *pair, "--dataset", "boxes", "--out", str(model)]
    )
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(build(), ["compare", str(model), str(out), "--metrics", "dsc"])
    assert done.exit_code == 0, done.output
    assert "dsc: " in done.output


@pytest.mark.parametrize(
    ("pattern", "fields", "words"),
    [
        ("{case}/{who}.nii.gz", (), "no fourth axis along which raters could lie"),
        ("{case}/nobody_{rater}.nii.gz", (), "no file of a rater"),
        ("../{case}.nii.gz", (), "must stay inside"),
        ("{case}/{rater}.nii.gz", ("case=(",), "names.case"),
        ("{case}/{rater}.nii.gz", ("rating=1",), "no file pattern has the field"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_said(raw, pattern, fields, words) -> None:
    options = [part for text in fields for part in ("--field", text)]
    done = CliRunner().invoke(
        build(), ["ceiling", str(raw / "by_case"), "--masks", pattern, *options, "--dataset", "x",
                  "--out", str(raw / "out.parquet")],
    )  # fmt: skip
    assert done.exit_code != 0
    assert isinstance(done.exception, BenchError)
    assert words in str(done.exception)


def test_references_without_an_image_are_checked_and_scored_and_no_model_runs_on_them(
    raw: Path, write_card
) -> None:
    write_card(
        folder="stacked", reader="no_image", reader_args={}, raters={"masks": "{case}.nii.gz"}
    )
    said = ceiling("--dataset", "boxes", "--raw-root", raw, "--out", raw / "out.parquet")
    assert "3 pairs of raters, 4 cases" in said
    rows = read_table(raw / "out.parquet", SCORES)
    assert dict(rows[rows["class"] == "liver"].set_index("case")["dsc"]) == pytest.approx(LIVER_DSC)
    command = ["data", "check", "--raw-root", str(raw), "--dataset", "boxes", "--json"]
    done = CliRunner().invoke(build(), command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(f["case"], f["verdict"]) for f in found if f["case"]] == [(c, "ok") for c in MOVES]
    config = RunConfig(
        name="boxes", study="sat", data_kind="real", raw_root=str(raw), entries=["boxes"],
        models=["oracle"],
    )  # fmt: skip
    with pytest.raises(BenchError, match="`boxes` has references of several raters and no image"):
        plan_entries(config)
    done = CliRunner().invoke(build(), ["standardise", "--help"])
    assert done.exit_code == 0
    # A file that is no stack, one of another grid, an unknown value: each by its case.
    save(raw / "stacked" / "p1.nii.gz", label_map("p1", 1))
    save(raw / "stacked" / "p2.nii.gz", np.full((4, 4, 4, 2), 7, np.uint8))
    (raw / "stacked" / "p3.nii.gz").write_bytes(b"x")
    faults = {f.case: f.message for f in check_root(raw, [find_card("boxes")]) if f.case}
    assert "masks of 1 rater" in faults["p1"]
    assert "unknown label values [7]" in faults["p2"]
    assert "masks of 1 rater" in faults["p3"]
    assert faults["p4"] == "masks of 3 raters"


@pytest.fixture
def rated_run(raw: Path, write_card) -> Path:
    """A run of an entry with images and raters, split and not yet measured."""
    for case in MOVES:
        save(raw / "boxes" / "images" / f"{case}.nii.gz", np.ones(label_map(case, 1).shape))
        save(raw / "boxes" / "labels" / f"{case}.nii.gz", label_map(case, 2))
        for rater in (1, 2, 3):
            path = raw / "boxes" / "raters" / f"r{rater}" / f"{case}.nii.gz"
            save(path, label_map(case, rater))
    write_card(folder="boxes", raters={"masks": "raters/{rater}/{case}.nii.gz"})
    paths = RunPaths(raw / "results" / "rated")
    freeze(
        RunConfig(
            name="rated", study="sat", data_kind="real", raw_root=str(raw), entries=["boxes"],
            models=["oracle"], tolerance_mm=[1.0, 2.0],
        ),
        paths.config,
    )  # fmt: skip
    sides = {"p1": "test", "p2": "test", "p3": "test", "p4": "train"}
    paths.split("boxes").parent.mkdir(parents=True)
    lines = ["case,patient,split", *(f"{case},{case},{side}" for case, side in sides.items())]
    paths.split("boxes").write_text("\n".join(lines) + "\n")
    return paths.root


def test_a_run_has_a_table_of_its_raters(rated_run: Path) -> None:
    lines = raters_of_run(rated_run)
    assert lines[0] == "boxes: raters of 3 of 3 test cases"
    table = read_table(RunPaths(rated_run).table("raters"), RATERS)
    dsc = table[table["metric"] == "dsc"].set_index("class")
    tested = [LIVER_DSC[case] for case in ("p1", "p2", "p3")]
    assert dsc.loc["liver", "value"] == pytest.approx(np.mean(tested))
    assert dsc.loc["*", "value"] == pytest.approx((np.mean(tested) + 1) / 2)
    assert dsc.loc["liver", "value_low"] < np.mean(tested) < dsc.loc["liver", "value_high"]
    assert (dsc[["n_cases", "n_patients", "n_raters", "n_pairs"]] == [3, 3, 3, 9]).all(axis=None)
    assert set(table[table["metric"] == "nsd"]["tolerance_mm"]) == {1.0, 2.0}
    assert isnan(dsc.loc["*", "apart_mm"])
    # 4 mm apart are faces of 48 mm2 of two of nine pairs, less than 5 % of the 9 * 2 * 320 mm2.
    assert dsc.loc["liver", "apart_mm"] == 3


def test_a_card_that_names_no_class_of_its_own_is_refused(raw: Path, write_card) -> None:
    raters = {"masks": "{case}/{class}_{rater}.nii.gz", "classes": {"1": "heart"}}
    write_card(folder="boxes", raters=raters)
    with pytest.raises(BenchError, match="no annotated classes"):
        find_card("boxes")
    write_card(folder="boxes", raters=None)
    with pytest.raises(BenchError, match="names no raters"):
        card_inputs(find_card("boxes"), raw)
