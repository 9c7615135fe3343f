"""Two processes learn what one with twice the batch learns, survive a kill, and end together."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from toy_world import ToyPreset

from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.launch import slurm_endpoint, srun_command, torchrun_command
from evaluation.training.processes import turns_of

# Trains each folder in turn with the preset that lies in it; a missing preset is an error.
PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, HERE)
from evaluation.training.processes import joined
from toy_world import ToyPreset, train_toy
with joined(torch.device("cpu")) as team:
    for name in sys.argv[1:]:
        work = Path(name)
        if team.rank == 1 and work.name == "unreadable":
            work = work.with_name("not-there")
        preset = ToyPreset.model_validate_json((work / "preset.json").read_text())
        train_toy(work, preset, 3)
"""
SECONDS = 240


def _folder(work: Path, preset: ToyPreset, toy) -> Path:
    toy.store(work, preset)
    (work / "preset.json").write_text(preset.model_dump_json())
    return work


def _start(tmp_path: Path, *folders: Path) -> subprocess.Popen[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("HERE", repr(str(Path(__file__).parent))))
    command = torchrun_command([str(program), *map(str, folders)], processes=2)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["network"]


def _losses(work: Path) -> list[tuple[str, float]]:
    with (work / "metrics.csv").open() as stream:
        return [(row["step"], float(row["loss"])) for row in csv.DictReader(stream)]


@pytest.mark.timeout(600)
def test_two_processes(tmp_path, toy):
    """In one test, because starting torch in several processes is what takes the time."""
    validation = {"part": 0.3, "every": 5}
    whole = toy.preset(steps=14, checkpoint_every=3, validation=validation)
    killed = _folder(tmp_path / "killed", whole, toy)
    process = _start(tmp_path, killed)
    deadline = time.monotonic() + SECONDS
    while not (killed / "last.pt").is_file() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    # All at once, like a node that fails; torchrun gives each process a session of its own.
    for member in [*psutil.Process(process.pid).children(recursive=True), process]:
        member.kill()
    process.communicate()
    assert not (killed / "checkpoint.pt").exists()

    undisturbed = _folder(tmp_path / "whole", whole, toy)
    # A small rate: AdamW takes whole steps along gradients that are zero but for rounding (the
    # attention's key bias), and those differ.
    plain = {"dropout": 0.0, "steps": 6, "warm_up": 0, "learning_rate": 1e-4}
    two = _folder(tmp_path / "two", toy.preset(**plain), toy)
    unreadable = _folder(tmp_path / "unreadable", toy.preset(), toy)
    process = _start(tmp_path, killed, undisturbed, two, unreadable)
    said, _ = process.communicate(timeout=SECONDS)
    # One process that cannot go on ends the other, which waits for it.
    assert process.returncode != 0
    assert "not-there/preset.json" in said
    assert not (unreadable / "checkpoint.pt").exists()

    # Killed and resumed: the same bits.
    for name in ("last.pt", "checkpoint.pt"):
        resumed, expected = (_weights(work / name) for work in (killed, undisturbed))
        assert all(torch.equal(expected[key], resumed[key]) for key in expected), name
    assert _losses(killed) == _losses(undisturbed)
    chosen = [(work / "validation.csv").read_text() for work in (killed, undisturbed)]
    assert chosen[0] == chosen[1]
    assert chosen[0].count("(all)") == 3

    # Two processes, one with twice the batch, and one that takes the second one's turns.
    for name, changes in (("batch", {"batch": 4}), ("turns", {"processes": 2})):
        one = _folder(tmp_path / name, toy.preset(**plain, **changes), toy)
        toy.train(one, toy.preset(**plain, **changes), 3)
        ours, theirs = _weights(one / "checkpoint.pt"), _weights(two / "checkpoint.pt")
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=1e-5, msg=key)
        for (step, a), (again, b) in zip(_losses(one), _losses(two), strict=True):
            assert (step, a) == (again, pytest.approx(b, abs=1e-5))
    # The tolerance says something: half the batch ends elsewhere.
    half = _folder(tmp_path / "half", toy.preset(**plain), toy)
    toy.train(half, toy.preset(**plain), 3)
    apart = _weights(half / "checkpoint.pt")
    assert max(float((value - theirs[key]).abs().max()) for key, value in apart.items()) > 1e-4


def test_turns_of_fewer_and_more_processes(toy):
    eight = toy.preset(batch=2, accumulate=3, processes=8).training
    assert [turns_of(eight, size) for size in (1, 2, 4, 8, 16)] == [24, 12, 6, 3, 3]
    with pytest.raises(BenchError, match="3 processes cannot stand in evenly"):
        turns_of(eight, 3)


def test_the_launcher_is_torchrun_on_one_node_and_srun_on_several():
    one = torchrun_command(["satbench", "sat", "train", "--run", "results/x"], 8)
    assert one[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=8", "--",
        "satbench", "sat", "train", "--run", "results/x",
    ]  # fmt: skip
    two = torchrun_command(["satbench"], 16, nodes=2, endpoint="10.0.0.7:20042")
    assert {"--nnodes=2", "--nproc-per-node=8", "--rdzv-endpoint=10.0.0.7:20042"} <= set(two)
    assert "--standalone" not in two
    assert srun_command(two, nodes=2, threads=64)[:7] == [
        "srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=64",
        "--kill-on-bad-exit=1", sys.executable,
    ]  # fmt: skip
    with pytest.raises(BenchError, match="cannot be spread evenly"):
        torchrun_command(["satbench"], 9, nodes=2, endpoint="h:1")


def test_nodes_of_a_slurm_job_meet_at_the_first_one(tmp_path, monkeypatch):
    # What Slurm 22.05 answers; a job's line also names the nodes that it was refused.
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        '  job) echo "JobId=12345 ReqNodeList=(null) ExcNodeList=n9 NodeList=n[1-2] NumNodes=2";;\n'
        '  hostnames) [ "$3" = "n[1-2]" ] && printf "n1\\nn2\\n";;\n'
        '  node) [ "$4" = n1 ] && echo "NodeName=n1 NodeAddr=10.0.0.7 NodeHostName=n1";;\n'
        "esac\n"
    )
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert slurm_endpoint({"SLURM_JOB_ID": "12345"}) == "10.0.0.7:22345"
    with pytest.raises(BenchError, match="inside a Slurm job"):
        slurm_endpoint({})
