"""How a training is spread over GPUs and nodes, before anything starts."""

from pathlib import Path

import pytest
from torch.distributed.run import parse_args as torchrun_arguments
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import RunConfig, freeze
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.workflow.jobs import HEAD_VARIABLE
from evaluation.workflow.watchdog import VARIABLE
from sat.launch import (
    Allocation,
    Layout,
    children_environment,
    find_allocation,
    find_layout,
    one_node_command,
    srun_command,
    training_command,
)

IN_SLURM = {"SLURM_JOB_ID": "7"}


@pytest.mark.parametrize(
    ("gpus", "nodes", "environment", "expected"),
    [
        (0, 1, {}, Layout(1, 1, 16)),
        (1, 1, {}, Layout(1, 1, 16)),
        (8, 1, {}, Layout(1, 8, 2)),
        (16, 2, {}, Layout(2, 8, 2)),
        (0, 2, {}, Layout(2, 1, 16)),
        # `gres` instead of `gpu`: Slurm shows this node's.
        (0, 2, IN_SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, Layout(2, 4, 4)),
        (0, 1, IN_SLURM | {"CUDA_VISIBLE_DEVICES": "GPU-8a,GPU-8b"}, Layout(1, 2, 8)),
        (0, 1, IN_SLURM | {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, Layout(1, 1, 16)),
        # Outside of Slurm the variable is the user's choice of a GPU, not a request for all.
        (1, 1, {"CUDA_VISIBLE_DEVICES": "0,1"}, Layout(1, 1, 16)),
        (0, 1, {"CUDA_VISIBLE_DEVICES": "0,1"}, Layout(1, 1, 16)),
    ],
)
def test_a_process_for_each_gpu(gpus, nodes, environment, expected):
    assert find_layout(gpus, nodes, 16, environment) == expected


def test_gpus_that_nodes_cannot_share_equally_are_refused():
    with pytest.raises(BenchError, match="3 GPUs on 2 nodes"):
        find_layout(3, 2, 8, {})


def test_more_processes_than_threads_get_one_each():
    assert find_layout(8, 1, 1, {}).threads == 1


def test_one_node_is_torchruns_own_business():
    layout = Layout(1, 8, 2)
    command = one_node_command(layout, training_command(Path("results/paper"), layout))
    assert command[1:3] == ["-m", "torch.distributed.run"]
    read = torchrun_arguments(command[3:])
    assert (read.nnodes, read.nproc_per_node, read.standalone) == ("1", "8", True)
    assert Path(read.training_script).name == "satbench"
    training = ["sat", "train", "--run", "results/paper", "--threads", "2"]
    assert read.training_script_args == training


def test_srun_starts_one_torchrun_on_each_node_and_says_where_they_meet():
    layout = Layout(2, 4, 2)
    command = srun_command(layout, ["train"], Allocation(123456, "10.0.0.7", 8))
    assert command[:7] == [
        "srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8",
        "--gpus-per-node=4", "--kill-on-bad-exit=1",
    ]  # fmt: skip
    assert command[8:10] == ["-m", "torch.distributed.run"]
    read = torchrun_arguments(command[10:])
    assert (read.nnodes, read.nproc_per_node, read.standalone) == ("2", "4", False)
    assert (read.rdzv_endpoint, read.rdzv_id) == ("10.0.0.7:23456", "123456")
    assert read.training_script == "train"
    without = srun_command(Layout(2, 1, 8), ["train"], Allocation(1, "n1", 8))
    assert not any("gpus" in word for word in without)


def test_a_process_number_does_not_travel_to_another_machine():
    ours = {HEAD_VARIABLE: "1", VARIABLE: "4711", "HOME": "/home/me"}
    assert children_environment(Layout(1, 2, 1), ours) == {VARIABLE: "4711", "HOME": "/home/me"}
    assert children_environment(Layout(2, 1, 1), ours) == {"HOME": "/home/me"}


def test_several_nodes_need_a_slurm_job():
    with pytest.raises(BenchError, match="runs inside a Slurm job"):
        find_allocation({})


def test_a_gpu_preset_without_a_gpu_starts_no_process(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    values = {"name": "t", "data_kind": "real", "raw_root": ".", "models": ["sat-nano"]}
    freeze(RunConfig.model_validate(values), RunPaths(tmp_path).config)
    arguments = ["sat", "launch", "--run", str(tmp_path), "--gpus", "8"]
    done = CliRunner().invoke(build(), arguments)
    assert isinstance(done.exception, BenchError)
    assert "needs 8 GPUs of this node" in str(done.exception)
