"""Submission folders joined on a board: the run's own numbers, or what does not fit by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.scoring.boards import join_submissions
from evaluation.scoring.submissions import submit
from evaluation.tables.run_tables import aggregate_run


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
