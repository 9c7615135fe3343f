"""The core commands where what Windows lacks is taken away; and their packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume, write_volume
from tests.conftest import ROOT


def test_core_commands_use_nothing_that_windows_lacks(four: RunPaths, tmp_path: Path) -> None:
    labels = np.zeros((12, 10, 8), dtype=np.uint8)
    labels[3:8, 3:8, 2:6] = 1
    for folder, shift in (("référence", 0), ("prediction", 1)):
        write_volume(
            tmp_path / folder / "cas-é.nii.gz", Volume(np.roll(labels, shift, 0), np.eye(4))
        )
    score = ["evaluate", "référence", "prediction", "--out", "scores.csv", "--jobs", "2"]
    submissions = [
        ["submit", "--run", str(four.root), "--model", model, "--out", f"submissions/{model}"]
        for model in ("nnunet", "sat-nano")
    ]
    board = ["board", "submissions", "--out", "board", "--draws", "100"]
    compare = ["compare", "sat-nano", "nnunet", "--run", "board", "--out", "compared.csv"]
    # Some twice: what is there is replaced.
    commands = [score, score, *submissions, board, board, compare]
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-m", "tests.bench.like_windows",
         json.dumps(commands)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="cp1252",
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr.splitlines()[-1] == str([0] * len(commands)), done.stderr[-4000:]
    assert pd.read_csv(tmp_path / "scores.csv")["status"].tolist() == ["scored"]
    assert pd.read_csv(tmp_path / "compared.csv").shape[0] >= 2
    rows = pd.read_parquet(RunPaths(tmp_path / "board").table("overall"))
    assert set(rows["model"].unique()) >= {"nnunet", "sat-nano"}
    # The same bytes as elsewhere, so that submissions of all systems fit on one board.
    for file in (tmp_path / "submissions").rglob("*.*"):
        if file.suffix in (".json", ".csv", ".yaml"):
            assert b"\r" not in file.read_bytes()
