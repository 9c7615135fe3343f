"""SIGKILL in every stage, then the same command: the same tables as an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

RUN = ("--cores", "2", "--configfile", "config/smoke.yaml")
# Stage -> files that appear while it is under way, and whether the whole process group dies or
# Snakemake alone, whose jobs then must end by themselves. SAT-Nano comes before nnU-Net's
# preparation, since both run side by side and its training is the shorter one here.
STAGES = (
    ("standardise", "results/smoke/cases/*/*/case.json", "group"),
    ("train SAT-Nano", "results/smoke/runs/sat-nano/last.pt", "alone"),
    ("prepare", "results/smoke/runs/nnunet/*/preprocessed/*/dataset_fingerprint.json", "group"),
    ("train nnU-Net", "results/smoke/runs/nnunet/**/checkpoint_latest.pth", "group"),
    ("predict", "results/smoke/predictions/*/*/*/prediction.json", "group"),
    ("measure", "results/smoke/scores/*/*/shards/*.journal.jsonl", "alone"),
    ("render", "reports/out/smoke/tables/*", "group"),
)
TABLES = ("overall", "dataset", "dataset_class", "class", "region", "ranks", "pairs")


def newest(folder: Path, pattern: str) -> float:
    """Time of the newest such file; files and folders may vanish while the run goes on."""
    try:
        return max((path.stat().st_mtime for path in folder.glob(pattern)), default=0.0)
    except FileNotFoundError:
        return 0.0


def kill_when(clone, pattern: str, how: str) -> None:
    """Start the workflow and kill it as soon as a new file of that pattern appears."""
    before = newest(clone.folder, pattern)
    log = clone.folder / "killed.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            clone.command(*RUN),
            cwd=clone.folder,
            env=clone.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 600
        while newest(clone.folder, pattern) <= before:
            assert process.poll() is None, f"ended before {pattern}:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.02)
    finally:
        if how == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_in_every_stage_it_ends_with_the_same_tables(smoke, clone):
    for _stage, pattern, how in STAGES:
        kill_when(clone, pattern, how)
    clone.run(*RUN)
    for name in TABLES:
        table = f"results/smoke/tables/{name}.parquet"
        undisturbed = pd.read_parquet(smoke.folder / table)
        pd.testing.assert_frame_equal(pd.read_parquet(clone.folder / table), undisturbed)
    assert "Nothing to be done" in clone.run(*RUN)
