"""One training on the GPUs of a node, and on two nodes, learns what a single process learns."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from evaluation.training.checkpoints import read_checkpoint

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]
WORK = Path("results/faults/runs/sat-nano")
SLURM = ("--configfile", "config/faults.yaml", "--profile", "slurm", str(WORK / "checkpoint.pt"))
PRESET = Path("config/training.yaml")


def set_training(folder: Path, **settings: int) -> None:
    preset = yaml.safe_load((folder / PRESET).read_text())
    preset["training"] |= {"steps": 6, "log_every": 1, **settings}
    (folder / PRESET).write_text(yaml.safe_dump(preset))


@pytest.fixture(scope="module")
def alone(undisturbed, cluster, tmp_path_factory):
    """One process that takes the turns of as many as a node has GPUs."""
    local, copy = undisturbed
    clone = type(local)(tmp_path_factory.mktemp("alone") / "clone", local.environment)
    shutil.copytree(copy, clone.folder)
    set_training(clone.folder, processes=cluster.gpus)
    clone.satbench(
        "train", "--run", "results/faults", "--model", "sat-nano", "--processes", "1",
        "--stage", "train", "--preset", str(PRESET),
    )  # fmt: skip
    return clone


def ranks(clone) -> set[tuple[str, str]]:
    """Number and node of each process that trains now."""
    found = set()
    for process in psutil.process_iter():
        try:
            if "train" in process.cmdline() and process.cwd() == str(clone.folder):
                variables = process.environ()
                if "RANK" in variables:
                    found.add((variables["RANK"], variables["SLURMD_NODENAME"]))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def train_together(clone, cluster, processes: int, **resources: object) -> str:
    """Train with processes that all live at the same time; how Slurm shows the job."""
    # Both nodes of the cluster are this machine.
    clone.environment = clone.environment | {"GLOO_SOCKET_IFNAME": "lo"}
    clone.edit_stages(
        "config/faults.yaml", **{"sat-nano/train": {"slurm_partition": "gpu", **resources}}
    )
    clone.start(*SLURM)
    clone.until(lambda: len(ranks(clone)) == processes)
    nodes = {node for _, node in ranks(clone)}
    assert len(nodes) == resources.get("nodes", 1)
    clone.finish()
    (job,) = [j for j in cluster.jobs("all") if j["folder"] == str(clone.folder)]
    return cluster.run("scontrol", "show", "job", "-o", job["id"])


def assert_learnt_the_same(clone, other) -> None:
    """Losses of all steps and weights; rounding grows with every step of AdamW."""
    ours, theirs = losses(clone), losses(other)
    assert theirs[-1] < 0.95 * theirs[0]
    assert ours == pytest.approx(theirs, rel=1e-3)
    a, b = weights(clone), weights(other)
    assert float((a - b).norm() / b.norm()) < 0.01


def losses(clone) -> list[float]:
    with (clone.folder / WORK / "metrics.csv").open(newline="") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def weights(clone) -> torch.Tensor:
    network = read_checkpoint(clone.folder / WORK / "checkpoint.pt")["network"]
    return torch.cat([value.flatten() for value in network.values()])


def test_gpus_of_one_node(prepared, alone, cluster):
    set_training(prepared.folder, processes=cluster.gpus)
    # A preset that wants as many CPUs as GPUs, on nodes that have two.
    asked = {"gpu": cluster.gpus, "gpu_model": "fake", "cpus_per_task": 2}
    shown = train_together(prepared, cluster, cluster.gpus, **asked)
    assert "NumNodes=1 " in shown
    assert f"TresPerJob=gres:gpu:fake:{cluster.gpus}" in shown
    assert_learnt_the_same(prepared, alone)


def test_two_nodes(prepared, alone, cluster):
    set_training(prepared.folder, processes=2, accumulate=cluster.gpus // 2)
    each = {"nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "srun", "gpu": 0}
    shown = train_together(prepared, cluster, 2, **each, gres="gpu:fake:1")
    assert "NumNodes=2 " in shown
    assert "TresPerNode=gres:gpu:fake:1" in shown
    assert_learnt_the_same(prepared, alone)
