"""One training on the GPUs of a node, and on two nodes: the weights of a single process."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from sat.weights import read_checkpoint

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]
CHECKPOINT = Path("results/faults/runs/sat-nano/checkpoint.pt")
SLURM = ("--configfile", "config/faults.yaml", "--profile", "slurm", str(CHECKPOINT))
# Enough for a wrong sum of gradients to show; AdamW's first steps depend on signs alone.
STEPS = 6


@pytest.fixture(scope="module")
def shared_step(undisturbed, cluster, tmp_path_factory):
    """A prepared clone whose preset shares each step out, and the weights of one process."""
    local, copy = undisturbed
    folder = tmp_path_factory.mktemp("ranks") / "clone"
    shutil.copytree(copy, folder)
    preset = yaml.safe_load((folder / "config" / "training.yaml").read_text())
    preset["training"] |= {"steps": STEPS, "batch": 1, "processes": cluster.gpus}
    (folder / "config" / "training.yaml").write_text(yaml.safe_dump(preset))
    alone = type(local)(tmp_path_factory.mktemp("alone") / "clone", local.environment)
    shutil.copytree(folder, alone.folder)
    alone.satbench("sat", "train", "--run", "results/faults")
    return folder, weights(alone)


@pytest.fixture
def shared_clone(shared_step, prepared):
    shutil.rmtree(prepared.folder)
    shutil.copytree(shared_step[0], prepared.folder)
    # Both nodes of the cluster are this machine.
    prepared.environment = prepared.environment | {"GLOO_SOCKET_IFNAME": "lo"}
    return prepared


def weights(clone) -> dict[str, torch.Tensor]:
    return read_checkpoint(clone.folder / CHECKPOINT)["network"]


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


def train_together(clone, cluster, resources: dict, nodes: set[str]) -> str:
    """Train with a process for each GPU, all at the same time; how Slurm shows the job."""
    clone.edit_profile(set_resources={"train_sat": {"gpu_model": "fake", **resources}})
    clone.start(*SLURM)
    wanted = resources["gpu"]
    clone.until(lambda: len(ranks(clone)) == wanted and {n for _, n in ranks(clone)} == nodes)
    clone.finish()
    (job,) = [j for j in cluster.jobs("all") if j["folder"] == str(clone.folder)]
    return cluster.run("scontrol", "show", "job", "-o", job["id"])


def test_gpus_of_one_node(shared_clone, shared_step, cluster):
    shown = train_together(shared_clone, cluster, {"gpu": cluster.gpus}, {"n1"})
    assert f"gres:gpu:fake:{cluster.gpus} " in shown
    assert "NumNodes=1 " in shown
    torch.testing.assert_close(weights(shared_clone), shared_step[1], rtol=1e-3, atol=1e-5)


def test_two_nodes(shared_clone, shared_step, cluster):
    spread = {"gpu": 2, "nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "mpi": "srun"}
    shown = train_together(shared_clone, cluster, spread, {"n1", "n2"})
    assert "NumNodes=2 " in shown
    torch.testing.assert_close(weights(shared_clone), shared_step[1], rtol=1e-3, atol=1e-5)
