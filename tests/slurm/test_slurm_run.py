"""The whole path on a real Slurm, at smoke size."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]
SATBENCH = str(Path(sys.executable).with_name("satbench"))
TRAINING = ("rule_train_sat", "rule_train_specialist")


def test_smoke_on_two_nodes_with_gpus(clone, cluster):
    gpu = {"gpu": 1, "gpu_model": "fake"}
    clone.edit_profile(set_resources={"train_sat": gpu, "train_specialist": gpu})
    process = clone.start("--profile", "slurm")
    assert clone.finish(process, timeout=1400) == 0, clone.said[-6000:]

    tables = clone.run_folder / "tables"
    overall = pd.read_parquet(tables / "overall.parquet")
    assert set(overall["model"]) == {"sat-nano", "nnunet", "oracle"}
    oracle = overall.query("model == 'oracle' and space == 'native'")
    assert (oracle["dsc"] == 1).all()
    assert (clone.folder / "reports/out/smoke/report.json").is_file()

    mine = [j for j in cluster.jobs("all") if j["folder"] == str(clone.folder)]
    assert {job["state"] for job in mine} == {"COMPLETED"}
    assert {job["node"] for job in mine} == {"n1", "n2"}
    for job in mine:
        trains = job["comment"].startswith(TRAINING)
        assert job["partition"] == ("gpu" if trains else "cpu"), job
        shown = cluster.run("scontrol", "show", "job", "-o", job["id"])
        assert ("gres:gpu:fake:1" in shown) == trains, shown

    done = subprocess.run(
        [SATBENCH, "jobs", "--run", "results/smoke", "--json"],
        cwd=clone.folder,
        env=clone.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    reports = json.loads(done.stdout)
    assert {r["status"] for r in reports} == {"done"}
    assert {r["host"] for r in reports} == {"n1", "n2"}
    training = [r for r in reports if r["stage"] == "train"]
    assert len(training) == 3
    for report in training:
        assert re.search(r"\bgpu=1\b", report["resources"]), report
        assert report["slurm_job"] in {job["id"] for job in mine}
    assert "Nothing to be done" in clone.complete("--profile", "slurm")
