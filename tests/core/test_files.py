"""Which files readers of folders look at."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from evaluation.files.writing import TEMPORARY_PREFIX, atomic_path, is_hidden, visible
from evaluation.models.card import find_model, model_faults
from evaluation.paths import RunPaths
from evaluation.scoring.finding import find_cases
from evaluation.tables.scores import Expected, score_files
from evaluation.workflow.jobs import job_reports

HIDDEN = (
    ".partial-12-0.csv", "._0.csv", ".DS_Store", ".0.csv.swp", ".#0.csv", "0.csv~", "~0.csv",
    "#0.csv#", "~$table.xlsx", "__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir",
)  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_names(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["0.csv", "case #12.nii.gz", "a~b.nii", "#1.nii", "P0 v1.nii.gz"])
def test_names_that_are_read(name: str) -> None:
    assert not is_hidden(name)


def test_what_lies_in_a_hidden_folder_is_hidden(tmp_path: Path) -> None:
    root = tmp_path / ".hidden-itself" / "scores"
    for folder in ("model", ".partial-1-model", "__MACOSX", "model/.git"):
        (root / folder).mkdir(parents=True)
        for name in ("b.csv", "a.csv", *HIDDEN[:8]):
            (root / folder / name).touch()
    assert [p.name for p in visible(root, "**/*.csv")] == ["a.csv", "b.csv"]
    assert visible(root) == [root / "model"]
    assert visible(tmp_path / "nowhere", "*/*.csv") == []


def test_what_a_killed_writer_leaves_is_hidden(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "0.csv") as temporary:
        temporary.touch()
        assert temporary.name.startswith(f"{TEMPORARY_PREFIX}{os.getpid()}")
        assert visible(tmp_path) == []
    assert visible(tmp_path) == [tmp_path / "0.csv"]


def clutter(folder: Path, name: str) -> None:
    """Beside a file of that name, hidden ones of every kind that no reader could read."""
    for hidden in (f"._{name}", f".partial-1-{name}", f"~{name}", f"#{name}#", f"{name}~"):
        (folder / hidden).write_bytes(b"\x00half")


def test_run_folder_is_read_among_clutter(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    shards = paths.score_shard("oracle", "acdc", 0).parent
    for folder in (shards, tmp_path / "scores" / ".Trash" / "acdc" / "shards"):
        folder.mkdir(parents=True)
        (folder / "0.parquet").touch()
        clutter(folder, "0.parquet")
    (shards / "0 copy.parquet").touch()
    expected = Expected("real", models=("oracle",), entries=("acdc",))
    assert score_files(paths, expected) == {("oracle", "acdc"): [shards / "0.parquet"]}
    benchmarks = tmp_path / "benchmarks" / "measure"
    for folder in (benchmarks, tmp_path / "benchmarks" / "__MACOSX"):
        folder.mkdir(parents=True)
        pd.DataFrame({"s": [1.0], "cpu_time": [1.0], "max_rss": [1.0]}).to_csv(
            folder / "acdc.tsv", sep="\t", index=False
        )
        clutter(folder, "acdc.tsv")
    assert [report.job for report in job_reports(tmp_path)] == ["acdc"]


def test_evaluate_looks_at_visible_files(tmp_path: Path) -> None:
    for folder in ("truth", "answers"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii.gz").touch()
        clutter(tmp_path / folder, "a.nii.gz")
    cases, extra = find_cases(tmp_path / "truth", tmp_path / "answers")
    assert [case.name for case in cases] == ["a"]
    assert cases[0].prediction
    assert cases[0].prediction.problem is None
    assert extra == []
    for folder in ("truth", "answers"):
        for case in ("a", "__MACOSX", "~a"):
            (tmp_path / "masks" / folder / case).mkdir(parents=True)
            (tmp_path / "masks" / folder / case / "liver.nii.gz").touch()
    cases, extra = find_cases(tmp_path / "masks/truth", tmp_path / "masks/answers")
    assert ([case.name for case in cases], extra) == (["a"], [])


def test_a_bad_model_card_stops_only_who_asks_for_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("config/models")
    folder.mkdir(parents=True)
    good = "{id: good, title: G, description: d, citation: c, licence: MIT, adapter: "
    good += "{kind: prediction-folder, folder: predictions}}"
    (folder / "good.yaml").write_text(good)
    (folder / "half.yaml").write_text("id: [")
    (folder / "other.yaml").write_text(good)
    (folder / "oracle.yaml").write_text(good.replace("id: good", "id: oracle"))
    clutter(folder, "good.yaml")
    assert find_model("good").title == "G"
    assert find_model("oracle").role == "control"
    faults = [fault.one_line for fault in model_faults()]
    assert len(faults) == 3
    assert all(
        f"{name}.yaml" in f for name, f in zip(("half", "oracle", "other"), faults, strict=True)
    )
    for name, words in (("half", "YAML"), ("other", "id and file name differ")):
        with pytest.raises(Exception, match=words):
            find_model(name)
