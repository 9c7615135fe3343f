"""Faults of a cluster: each ends with the tables of an undisturbed run, or with a clear message.

The training of a small run is disturbed; everything before it is done.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]
# Up to the tables; the report is not disturbed here.
SLURM = ("--configfile", "config/faults.yaml", "--profile", "slurm", "tables")
RUN = Path("results/faults")
TRAIN = "rule_stage"
TABLES = ("overall", "dataset", "dataset_class", "class", "region")


def same_tables(clone, undisturbed) -> None:
    for name in TABLES:
        table = RUN / "tables" / f"{name}.parquet"
        ours = pd.read_parquet(clone.folder / table)
        pd.testing.assert_frame_equal(ours, pd.read_parquet(undisturbed[0].folder / table))


def start_training(clone, cluster) -> dict[str, str]:
    """Start the workflow; returns the training's job once it has a resume point."""
    clone.start(*SLURM)
    clone.until((clone.folder / RUN / "runs" / "sat-nano" / "last.pt").is_file)
    (job,) = trainings(clone, cluster, "RUNNING")
    return job


def trainings(clone, cluster, states: str = "all") -> list[dict[str, str]]:
    return [j for j in cluster.jobs(states, TRAIN) if j["folder"] == str(clone.folder)]


def training_processes(clone) -> list[psutil.Process]:
    """Processes of the training's command in this clone."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if "train" in words and "sat-nano" in words and process.cwd() == str(clone.folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def finish(clone, undisturbed) -> None:
    clone.finish()
    same_tables(clone, undisturbed)


def resumed(clone) -> bool:
    """Whether the last training went on from a resume point."""
    log = (clone.folder / RUN / "logs/stage/runs/sat-nano/checkpoint.pt.log").read_text()
    (steps,) = re.findall(r": (\d+) steps in", log)
    preset = yaml.safe_load((clone.folder / "config" / "training.yaml").read_text())
    return 0 < int(steps) < preset["training"]["steps"]


def test_cancelled_training_is_submitted_again_and_goes_on(prepared, cluster, undisturbed):
    job = start_training(prepared, cluster)
    cluster.run("scancel", job["id"])
    finish(prepared, undisturbed)
    assert [j["state"] for j in trainings(prepared, cluster)] == ["CANCELLED", "COMPLETED"]
    assert resumed(prepared), "it began anew"


def test_job_over_its_memory_gets_more(prepared, cluster, undisturbed):
    memory = "250 if attempt == 1 else 4000"
    prepared.edit_profile(set_resources={"stage": {"mem_mb": memory}})
    prepared.start(*SLURM)
    finish(prepared, undisturbed)
    assert [j["state"] for j in trainings(prepared, cluster)] == ["FAILED", "COMPLETED"]


def test_job_over_its_time_gets_more_and_goes_on(prepared, cluster, undisturbed):
    prepared.edit_profile(set_resources={"stage": {"runtime": "1 if attempt == 1 else 60"}})
    start_training(prepared, cluster)
    for process in training_processes(prepared):
        process.suspend()  # so that it is over its time on any machine
    finish(prepared, undisturbed)
    assert [j["state"] for j in trainings(prepared, cluster)] == ["TIMEOUT", "COMPLETED"]
    assert resumed(prepared), "it began anew"


def test_lost_node_is_replaced_by_another(prepared, cluster, undisturbed):
    job = start_training(prepared, cluster)
    cluster.call("kill-node", job["node"])
    try:
        finish(prepared, undisturbed)
    finally:
        cluster.call("start-node", job["node"])
        cluster.call("start", "--nodes", "2")  # returns when all nodes are up
    last = trainings(prepared, cluster)[-1]
    assert last["state"] == "COMPLETED"
    assert last["node"] != job["node"]


def test_restarted_controller_is_not_noticed(prepared, cluster, undisturbed):
    start_training(prepared, cluster)
    cluster.call("restart-ctld")
    finish(prepared, undisturbed)
    assert [j["state"] for j in trainings(prepared, cluster)] == ["COMPLETED"]


def test_killed_snakemake_leaves_jobs_that_the_next_one_respects(prepared, cluster, undisturbed):
    job = start_training(prepared, cluster)
    (process,) = training_processes(prepared)[-1:]
    process.suspend()
    prepared.started[-1].send_signal(signal.SIGKILL)
    prepared.started[-1].wait()

    assert prepared.start(*SLURM).wait(800) != 0
    assert "of an earlier start of this run have not ended" in prepared.said
    assert f"{job['id']} RUNNING {TRAIN}" in prepared.said
    assert "scancel --name=" in prepared.said
    assert len(trainings(prepared, cluster)) == 1, "nothing was submitted twice"

    process.resume()
    while trainings(prepared, cluster, "RUNNING,COMPLETING"):
        process.wait(timeout=240)
    prepared.start(*SLURM)
    finish(prepared, undisturbed)
    assert len(trainings(prepared, cluster)) == 1, "the finished training was used"


def test_job_that_no_node_can_hold_is_refused_with_a_message(prepared, cluster):
    prepared.edit_profile(set_resources={"stage": {"mem_mb": 10_000_000}}, retries=0)
    assert prepared.start(*SLURM).wait(800) != 0
    assert re.search(r"(?i)memory specification|node configuration is not available", prepared.said)
