"""Faults of a cluster: each ends with the tables of an undisturbed run, or with a clear message.

The training of a small run is disturbed; everything before it is done.
"""

from __future__ import annotations

import re
import signal

import pandas as pd
import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]
# Up to the tables; the report is not disturbed here.
SLURM = ("--profile", "slurm", "tables")
TRAIN = "rule_train_sat"
TABLES = ("overall", "dataset", "dataset_class", "class", "region")


def same_tables(clone, undisturbed) -> None:
    for name in TABLES:
        ours = pd.read_parquet(clone.run_folder / "tables" / f"{name}.parquet")
        theirs = pd.read_parquet(undisturbed[0].run_folder / "tables" / f"{name}.parquet")
        pd.testing.assert_frame_equal(ours, theirs)


def start_training(clone, cluster) -> dict[str, str]:
    """Start the workflow; returns the training's job once it has a resume point."""
    clone.start(*SLURM)
    clone.until(clone.resume_point.is_file)
    (job,) = trainings(clone, cluster, "RUNNING")
    return job


def trainings(clone, cluster, states: str = "all") -> list[dict[str, str]]:
    return [j for j in cluster.jobs(states, TRAIN) if j["folder"] == str(clone.folder)]


def finish(clone, undisturbed) -> None:
    assert clone.finish(clone.started[-1]) == 0, clone.said[-6000:]
    same_tables(clone, undisturbed)


def resumed(clone) -> bool:
    """Whether the last training went on from a resume point."""
    log = (clone.run_folder / "logs" / "train" / "sat-nano.log").read_text()
    (steps,) = re.findall(r": (\d+) steps in", log)
    return 0 < int(steps) < clone.training_steps


def test_cancelled_training_is_submitted_again_and_goes_on(prepared, cluster, undisturbed):
    job = start_training(prepared, cluster)
    cluster.run("scancel", job["id"])
    finish(prepared, undisturbed)
    assert [j["state"] for j in trainings(prepared, cluster)] == ["CANCELLED", "COMPLETED"]
    assert resumed(prepared), "it began anew"


def test_job_over_its_memory_gets_more(prepared, cluster, undisturbed):
    memory = "250 if attempt == 1 else 4000"
    prepared.edit_profile(set_resources={"train_sat": {"mem_mb": memory}})
    prepared.start(*SLURM)
    finish(prepared, undisturbed)
    assert [j["state"] for j in trainings(prepared, cluster)] == ["FAILED", "COMPLETED"]


def test_job_over_its_time_gets_more_and_goes_on(prepared, cluster, undisturbed):
    prepared.edit_profile(set_resources={"train_sat": {"runtime": "1 if attempt == 1 else 60"}})
    start_training(prepared, cluster)
    for process in prepared.training():
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
    (process,) = prepared.training()[-1:]
    process.suspend()
    prepared.started[-1].send_signal(signal.SIGKILL)
    prepared.started[-1].wait()

    again = prepared.start(*SLURM)
    assert prepared.finish(again) != 0
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
    prepared.edit_profile(set_resources={"train_sat": {"mem_mb": 10_000_000}}, retries=0)
    process = prepared.start(*SLURM)
    assert prepared.finish(process) != 0
    assert re.search(r"(?i)memory specification|node configuration is not available", prepared.said)
