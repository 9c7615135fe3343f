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

import pandas as pd
import pytest
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.files.sums import sha256
from evaluation.paths import RunPaths
from evaluation.schema import scores_table, write_table
from evaluation.scoring.boards import join_submissions
from evaluation.scoring.submissions import SCORE_ROWS, read_submission, submit
from evaluation.tables.run_tables import aggregate_run
from reports.rendering import render_report


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


def test_references_are_compared_with_all_submissions(four: RunPaths, tmp_path: Path) -> None:
    """The first has no row of the case in which the other two differ."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, model in zip(folders, ("nnunet", "sat-nano", "oracle"), strict=True):
        submit(four.root, model, folder)
        rows = pd.read_parquet(folder / SCORE_ROWS)
        word = rows["dataset"] == "word"
        if model == "nnunet":
            rows = rows[~word]
        elif model == "oracle":
            rows.loc[word, "reference_voxels"] += 1
        table = scores_table(read_submission(folder).configuration.metrics)
        write_table(folder / SCORE_ROWS, rows, table)
        record = json.loads((folder / "submission.json").read_text())
        record["files"][SCORE_ROWS] = sha256(folder / SCORE_ROWS)
        (folder / "submission.json").write_text(json.dumps(record))
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
