"""The whole path on a real Slurm: the demo, both models, on two nodes with GPUs."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from evaluation.protocol import HEADLINE

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(3600)]
SLURM = ("--configfile", "config/demo.yaml", "--profile", "slurm")
TRAINING = ("rule_train_sat", "rule_train_specialist")
SPECIALISTS = 6
CONTROLS = ("threshold", "mean-map")


def test_demo_on_two_nodes_with_gpus(clone, cluster):
    gpu = {"gpu": 1, "gpu_model": "fake"}
    clone.edit_profile(set_resources={"train_sat": gpu, "train_specialist": gpu})
    clone.start(*SLURM)
    clone.finish(3500)

    overall = pd.read_parquet(clone.folder / "results/demo/tables/overall.parquet")
    head = HEADLINE.numbers(overall)
    assert head["model"].is_unique
    mean = head.set_index("model")["value"].to_dict()
    assert mean["oracle"] == 1
    for model in ("sat-nano", "nnunet"):
        assert mean[model] > max(mean[control] for control in CONTROLS), mean
    assert set(head["n_entries"]) == {5}
    assert (clone.folder / "reports/out/demo/report.json").is_file()

    mine = [j for j in cluster.jobs("all") if j["folder"] == str(clone.folder)]
    assert {job["state"] for job in mine} == {"COMPLETED"}
    assert {job["node"] for job in mine} == {"n1", "n2"}
    for job in mine:
        trains = job["comment"].startswith(TRAINING)
        assert job["partition"] == ("gpu" if trains else "cpu"), job
        shown = cluster.run("scontrol", "show", "job", "-o", job["id"])
        assert ("gres:gpu:fake:1" in shown) == trains, shown

    reports = json.loads(clone.satbench("jobs", "--run", "results/demo", "--json"))
    assert {r["status"] for r in reports} == {"done"}
    assert {r["host"] for r in reports if r["slurm_job"]} == {"n1", "n2"}
    assert {r["stage"] for r in reports if not r["slurm_job"]} == {"split", "record"}
    training = [r for r in reports if r["stage"] == "train"]
    assert len(training) == 1 + SPECIALISTS
    for report in training:
        assert re.search(r"\bgpu=1\b", report["resources"]), report
        assert report["slurm_job"] in {job["id"] for job in mine}
    assert "Nothing to be done" in clone.run(*SLURM)
