"""The whole report of a small run: what is written, and that nothing calls the network."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.files.writing import visible
from evaluation.paths import RunPaths
from evaluation.schema import TABLES, read_table, write_table
from reports.parts import PARTS
from reports.rendering import render_report
from reports.source.loading import load_source

REMOTE = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?https?:|@import""")


@pytest.fixture(scope="module")
def report(run: RunPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "tiny"
    return render_report(run.root, out, pictures=12).parent


def test_every_part_is_written_and_listed(report: Path) -> None:
    record = json.loads((report / "report.json").read_text())
    assert set(record["parts"]) == set(PARTS)
    listed = {f for p in record["parts"].values() for item in p["items"] for f in item["files"]}
    for name in listed:
        assert (report / name).stat().st_size > 0, name
    # Sums of what was written lie hidden beside it.
    on_disk = {p.relative_to(report).as_posix() for p in visible(report, "**/*") if p.is_file()}
    assert on_disk == listed | {"report.json", "index.html", "README.md"}
    assert record["data_kind"] == "synthetic"
    assert record["not_run"] == {"sliver07": "no data at raw/SLIVER07"}
    for name in ("regions", "datasets", "datasets_resampled_paper", "pairs"):
        for suffix in ("csv", "md", "tex"):
            assert f"tables/{name}.{suffix}" in listed
    for name in ("regions", "classes_1", "differences", "wins_and_losses", "score_against_size",
                 "dsc_against_nsd", "model_size"):  # fmt: skip
        assert {f"figures/{name}.{kind}" for kind in ("pdf", "svg", "png")} <= listed


def test_what_is_missing_is_said(report: Path) -> None:
    text = (report / "README.md").read_text()
    assert "## Not available" in text
    assert "- leakage audit: not available" in text
    assert "cost against score" in text
    assert "rank stability" in text
    assert "not real scans" in text


def test_pages_work_without_a_network(report: Path) -> None:
    pages = list(report.rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        text = page.read_text()
        assert not REMOTE.search(text), page
        assert "<script src" not in text
        for target in re.findall(r'(?:src|href)="([^"#:]+)"', text):
            assert (page.parent / target).is_file(), target


def test_a_second_report_gives_the_same_bytes(run: RunPaths, report: Path, tmp_path: Path) -> None:
    again = render_report(run.root, tmp_path / "again", ("tables", "gallery"), 12).parent
    for folder in ("tables", "gallery"):
        for path in sorted((again / folder).glob("*.*")):
            assert path.read_bytes() == (report / folder / path.name).read_bytes(), path.name


def test_one_part_leaves_the_others_and_removes_its_own_old_files(
    run: RunPaths, tmp_path: Path
) -> None:
    out = tmp_path / "parts"
    render_report(run.root, out, ("tables",))
    stray = out / "tables" / "notes of the user.txt"
    stray.write_text("keep")
    record = json.loads((out / "report.json").read_text())
    old = out / "tables" / "old.csv"
    old.write_text("from an earlier version")
    record["parts"]["tables"]["items"].append({"title": "old", "files": ["tables/old.csv"]})
    (out / "report.json").write_text(json.dumps(record))
    render_report(run.root, out, ("export",))
    assert old.is_file()
    render_report(run.root, out, ("tables",))
    assert not old.is_file()
    assert stray.is_file()
    parts = json.loads((out / "report.json").read_text())["parts"]
    assert parts["tables"]["items"]
    assert parts["export"]["items"]


def test_synthetic_and_real_never_meet(run: RunPaths, tmp_path: Path) -> None:
    mixed = RunPaths(tmp_path / "tiny")
    shutil.copytree(run.root / "tables", mixed.root / "tables")
    shutil.copy(run.config, mixed.config)
    table = TABLES["dataset"]
    frame = read_table(mixed.table("dataset"), table)
    frame.loc[frame["model"] == "nnunet", "data_kind"] = "real"
    write_table(mixed.table("dataset"), frame, table)
    with pytest.raises(BenchError, match="never stand on one board"):
        load_source(mixed.root)


def test_another_runs_folder_is_refused(run: RunPaths, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = render_report(run.root, out, ("tables",))
    record = json.loads(path.read_text()) | {"run": "other"}
    path.write_text(json.dumps(record))
    with pytest.raises(BenchError, match="report of another run"):
        render_report(run.root, out, ("tables",))


def test_errors_name_the_fault(run: RunPaths, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no report part `figure`"):
        render_report(run.root, tmp_path, ("figure",))
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(run.config, empty / "config.json")
    with pytest.raises(BenchError, match="no aggregated tables"):
        render_report(empty, tmp_path / "out")


def test_the_command_renders_the_parts_asked_for(run: RunPaths, tmp_path: Path) -> None:
    options = ["report", "--run", str(run.root), "--out", str(tmp_path), "--only", "export"]
    result = CliRunner().invoke(build(), options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "export" / "ro-crate-metadata.json").is_file()
    assert not (tmp_path / "figures").exists()


def test_export_is_tidy_and_described(run: RunPaths, report: Path) -> None:
    folder = report / "export"
    scores = pq.read_table(folder / "scores.parquet")
    assert scores.schema.names == TABLES["scores"].names
    lines = pd.read_csv(folder / "scores.csv.gz", keep_default_na=False)
    assert len(lines) == scores.num_rows
    words = pd.read_csv(folder / "data_dictionary.csv", keep_default_na=False)
    for path in (folder / "tables").glob("*.csv"):
        columns = list(pd.read_csv(path, nrows=1).columns)
        assert columns == words[words["table"] == path.stem]["column"].tolist()
    crate = json.loads((folder / "ro-crate-metadata.json").read_text())
    entities = {e["@id"]: e for e in crate["@graph"]}
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files - {"ro-crate-metadata.json"} <= set(entities)
    assert "synthetic" in entities["./"]["description"]
    assert not [f for f in files if f.endswith((".nii.gz", ".jpg"))]
