"""How a training is spread over GPUs and nodes; `test_distributed.py` trains with two processes."""

import pytest
from torch.distributed.run import parse_args as torchrun_arguments
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import RunConfig, freeze
from evaluation.errors import BenchError
from evaluation.paths import RunPaths
from evaluation.workflow.jobs import HEAD_VARIABLE
from evaluation.workflow.watchdog import VARIABLE
from sat.training.launch import children_environment, launch, shown_gpus, torchrun_command

IN_SLURM = {"SLURM_JOB_ID": "7"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (IN_SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 4),
        (IN_SLURM | {"CUDA_VISIBLE_DEVICES": "GPU-8a,GPU-8b"}, 2),
        (IN_SLURM | {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0),
        (IN_SLURM, 0),
        # Outside of Slurm the variable is the user's choice of a GPU, not a request for all.
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, 0),
    ],
)
def test_gpus_are_those_that_slurm_shows(environment, expected):
    assert shown_gpus(environment) == expected


def test_torchrun_reads_its_options_and_leaves_ours_alone():
    program = ["/bin/satbench", "sat", "train", "--run", "results/paper", "--threads", "2"]
    read = torchrun_arguments(torchrun_command(program, 8)[3:])
    assert (read.nproc_per_node, read.standalone, read.max_restarts) == ("8", True, 0)
    assert [read.training_script, *read.training_script_args] == program
    read = torchrun_arguments(torchrun_command(program, 16, 2, "10.0.0.7:20042")[3:])
    assert (read.nnodes, read.nproc_per_node, read.standalone) == ("2", "8", False)


def test_a_process_number_does_not_travel_to_another_machine():
    ours = {HEAD_VARIABLE: "1", VARIABLE: "4711", "OMP_NUM_THREADS": "3"}
    here = children_environment(1, 8, ours)
    assert here == {VARIABLE: "4711", "OMP_NUM_THREADS": "3"}
    assert children_environment(2, 8, ours) == {"OMP_NUM_THREADS": "3"}
    assert children_environment(1, 8, {}) == {"OMP_NUM_THREADS": "8"}


def test_a_process_that_fails_ends_the_others_and_the_log_is_named(tmp_path, capfd):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\n"
        "if os.environ['RANK'] == '1':\n"
        "    sys.exit('satbench: rank 1 gives up')\n"
        "time.sleep(500)\n"
    )
    with pytest.raises(BenchError, match=r"2 processes ended .*\n.*stands above"):
        launch([str(program)], processes=2, nodes=1, threads=1)
    assert "satbench: rank 1 gives up" in capfd.readouterr().err


def test_a_gpu_preset_without_a_gpu_starts_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.workflow.gpu.DRIVER", "libno-such-driver.so.1")
    values = {
        "name": "t",
        "study": "sat",
        "data_kind": "real",
        "raw_root": ".",
        "models": ["sat-nano"],
    }
    freeze(RunConfig.model_validate(values), RunPaths(tmp_path).config)
    arguments = ["sat", "train", "--run", str(tmp_path), "--processes", "8"]
    done = CliRunner().invoke(build(), arguments)
    assert isinstance(done.exception, BenchError)
    assert "needs 8 GPUs of this node" in str(done.exception)
