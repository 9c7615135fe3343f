"""Submission folders joined on a board: the run's own numbers, or what does not fit by name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.files.sums import sha256
from evaluation.models.card import find_model
from evaluation.paths import RunPaths
from evaluation.scoring.boards import join_submissions
from evaluation.scoring.submissions import SCORE_ROWS, read_submission, submit
from evaluation.tables.run_tables import aggregate_run
from reports.rendering import render_report
from reports.source.loading import load_source


def test_a_board_of_all_submissions_has_the_runs_means(four: RunPaths, tmp_path: Path) -> None:
    for model in ("nnunet", "sat-nano", "oracle"):
        submit(four.root, model, tmp_path / "submissions" / model)
    board = tmp_path / "board"
    join_submissions([tmp_path / "submissions"], board)
    aggregate_run(board, n_draws=100)
    keys = ["model", "policy", "space", "view", "coverage", "aggregation", "statistic", "metric"]
    keys += ["tolerance_mm", "value", "n_cases", "n_missing"]
    own, joined = (
        pd.read_parquet(RunPaths(root).table("overall"))[keys].sort_values(keys, ignore_index=True)
        for root in (four.root, board)
    )
    pd.testing.assert_frame_equal(own, joined)


def test_a_row_of_a_board_is_called_as_its_submission_says(four: RunPaths, tmp_path: Path) -> None:
    """What a preset adds to a title, such as the text encoder, is known to the submission alone."""
    folder, board = tmp_path / "sat-nano", tmp_path / "board"
    submit(four.root, "sat-nano", folder)
    record = json.loads((folder / "submission.json").read_text())
    record["title"] += ", MiniLM text\x1b"
    (folder / "submission.json").write_text(json.dumps(record))
    join_submissions([folder], board)
    aggregate_run(board, n_draws=100)
    source = load_source(board)
    assert source.model_title("sat-nano") == f"{find_model('sat-nano').title}, MiniLM text\\x1b"
    submit(board, "sat-nano", tmp_path / "again")
    assert read_submission(tmp_path / "again").title == source.model_title("sat-nano")


def write_rows(folder: Path, rows: pd.DataFrame) -> None:
    """Put other rows into a submission, as its author could: with their sum in the record."""
    path = folder / SCORE_ROWS
    schema = pq.read_schema(path)
    columns = [pa.array(rows[name].tolist(), schema.field(name).type) for name in schema.names]
    pq.write_table(pa.table(columns, names=schema.names), path)
    record = json.loads((folder / "submission.json").read_text())
    record["files"][SCORE_ROWS] = sha256(path)
    (folder / "submission.json").write_text(json.dumps(record))


def test_references_are_compared_with_all_submissions(four: RunPaths, tmp_path: Path) -> None:
    """The first does not say how large the reference is in which the other two differ."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, model in zip(folders, ("nnunet", "sat-nano", "oracle"), strict=True):
        submit(four.root, model, folder)
        rows = pd.read_parquet(folder / SCORE_ROWS)
        word = rows["dataset"] == "word"
        if model == "nnunet":
            rows.loc[word, "reference_voxels"] = -1
        elif model == "oracle":
            rows.loc[word, "reference_voxels"] += 1
        write_rows(folder, rows)
    with pytest.raises(BenchError, match=r"c: other reference masks \(word case") as caught:
        join_submissions(folders, tmp_path / "board")
    assert "b: other" not in str(caught.value)


def test_what_does_not_fit_is_named(four: RunPaths, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    submit(four.root, "nnunet", one)
    submit(four.root, "sat-nano", other)
    record = json.loads((other / "submission.json").read_text())
    record["measured"] += 1
    record["configuration"]["tolerance_mm"] = [3.0]
    (other / "submission.json").write_text(json.dumps(record))
    with pytest.raises(BenchError, match=r"other: measured by version .*; .*other: tolerance_mm"):
        join_submissions([one, other], tmp_path / "board")
    shutil.copytree(one, tmp_path / "twice")
    with pytest.raises(BenchError, match="a second submission of `nnunet`"):
        join_submissions([one, tmp_path / "twice"], tmp_path / "board")
    with (one / "splits" / "word.csv").open("a") as stream:
        stream.write("\n")
    with pytest.raises(BenchError, match=r"is altered[^$]*word\.csv"):
        join_submissions([one], tmp_path / "board")
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    ("column", "value", "refusal"),
    [
        ("dataset", "../../../outside", "rows of another dataset"),
        ("model", "nnunet", "rows of another model"),
        ("dsc", 7.5, "a `dsc` that no pair of masks has"),
        ("status", "great", "unknown values"),
        ("twice", None, "two score rows for the same case"),
        ("without a case", None, "leaves out test cases of"),
        ("without a class", None, "rows of some cases are left out"),
    ],
)
def test_altered_rows_are_refused_and_the_board_stays(
    four: RunPaths, tmp_path: Path, column: str, value: Any, refusal: str
) -> None:
    one, other, board = tmp_path / "one", tmp_path / "other", tmp_path / "board"
    submit(four.root, "nnunet", one)
    submit(four.root, "sat-nano", other)
    join_submissions([one], board)
    before = sorted(tmp_path.rglob("*"))
    rows = pd.read_parquet(other / SCORE_ROWS)
    if column == "twice":
        rows = pd.concat([rows, rows.head(3)])
    elif column.startswith("without"):
        first = rows[rows["dataset"] == "word"].iloc[0]
        gone = (rows["dataset"] == first["dataset"]) & (rows["case"] == first["case"])
        if column == "without a class":
            gone &= rows["class"] == first["class"]
        rows = rows[~gone]
    else:
        rows.loc[rows.index[:3], column] = value
    write_rows(other, rows)
    with pytest.raises(BenchError, match=refusal):
        join_submissions([one, other], board)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_submission_names_no_place_outside(four: RunPaths, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    record = json.loads(submit(four.root, "nnunet", folder).read_text())
    told = record | {"model": "../../x"}
    told["configuration"] = record["configuration"] | {"models": ["../../x"]}
    (folder / "submission.json").write_text(json.dumps(told))
    with pytest.raises(BenchError, match=r"`../../x` is no id"):
        join_submissions([folder], tmp_path / "board")
    (folder / "submission.json").write_text(json.dumps(record))
    (folder / "cards").symlink_to(tmp_path)
    with pytest.raises(BenchError, match="a link or a device"):
        join_submissions([folder], tmp_path / "board")


def test_a_board_and_submissions_do_not_replace_one_another(four: RunPaths, tmp_path: Path) -> None:
    folder, board, file = tmp_path / "one", tmp_path / "board", tmp_path / "file"
    submit(four.root, "nnunet", folder)
    join_submissions([folder], board)
    shutil.copytree(folder, board / "submissions" / "one")
    with pytest.raises(BenchError, match="in one another"):
        join_submissions([board / "submissions"], board)
    assert (board / "submissions" / "one" / SCORE_ROWS).is_file()
    with pytest.raises(BenchError, match="lower-case letters"):
        join_submissions([folder], tmp_path / "My board")
    assert not (tmp_path / "My board").exists()
    file.touch()
    with pytest.raises(BenchError, match="this is none"):
        submit(four.root, "nnunet", file)
    (tmp_path / "link").symlink_to(folder)
    submit(four.root, "sat-nano", tmp_path / "link")
    assert read_submission(folder).model == "sat-nano"
    assert (tmp_path / "link").is_symlink()


def test_a_board_is_joined_reported_and_served(four: RunPaths, tmp_path: Path) -> None:
    satbench = [str(Path(sys.executable).with_name("satbench"))]
    submit(four.root, "nnunet", tmp_path / "submissions" / "nnunet")
    submit(four.root, "sat-nano", tmp_path / "submissions" / "sat-nano")
    made = CliRunner().invoke(
        build(), ["board", str(tmp_path / "submissions"), "--out", str(tmp_path / "board"),
                  "--draws", "100"],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    render_report(tmp_path / "board", tmp_path / "page", ("leaderboard", "export"))
    assert not (tmp_path / "page" / "gallery").exists()
    with subprocess.Popen(
        [*satbench, "board", "serve", str(tmp_path / "page")], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"}, stderr=subprocess.PIPE,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            page = urllib.request.urlopen(address, timeout=30).read()
            assert page == (tmp_path / "page" / "leaderboard.html").read_bytes()
            outside = f"{address.rpartition('/')[0]}/../board/config.json"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(outside, timeout=30)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130


def test_only_a_report_is_served(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no report in this folder"):
        CliRunner().invoke(build(), ["board", "serve", str(tmp_path)], catch_exceptions=False)
