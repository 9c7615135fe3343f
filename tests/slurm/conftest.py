"""A throw-away Slurm of two nodes with fake GPUs, and clones of the workflow that use it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
PACKAGES = "slurmctld slurmd slurm-client munge"
ACTIVE = "PENDING,RUNNING,CONFIGURING,COMPLETING,REQUEUED,SUSPENDED"
# Two nodes of this host claim more than it has; jobs ask for what a real one would need.
NODES = ("--nodes", "2", "--cpus", "2", "--mem", "40000")
# Ports from here on; another for each test process, so that two do not meet.
PORT = 17000 + 10 * (os.getpid() % 1000)


@dataclass
class Cluster:
    """The cluster; `variables` make the Slurm commands of any process talk to it."""

    tool: Path
    folder: Path
    variables: dict[str, str]
    gpus: int

    def call(self, action: str, *arguments: str) -> str:
        return self.run(str(self.tool), action, str(self.folder), *arguments)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self, states: str, comment: str = "") -> list[dict[str, str]]:
        """Jobs in these states whose comment (rule and wildcards) begins so, oldest first."""
        keys = ("id", "state", "node", "partition", "comment", "folder")
        form = "--format=%i|%T|%N|%P|%k|%Z"
        text = self.run("squeue", "--noheader", f"--states={states}", "--sort=i", form)
        rows = [dict(zip(keys, x.split("|"), strict=True)) for x in text.splitlines()]
        return [row for row in rows if row["comment"].startswith(comment)]


def most_gpus(folder: Path) -> int:
    """Fake GPUs of a node: eight devices, or those six that every machine has."""
    device = folder / "device"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError:
        return 6
    device.unlink()
    return 8


@pytest.fixture(scope="session")
def cluster(shared: Path) -> Iterator[Cluster]:
    tool = shared / "tools" / "slurm-test-cluster"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.fail(
            f"not on this machine: {', '.join(missing)}. On Debian 12: "
            f"apt-get install -y --no-install-recommends {PACKAGES}"
        )
    # Slurm's sockets lie here, and their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    path = f"{Path(sys.executable).parent}:{path}"
    found = Cluster(tool, folder, {"PATH": path}, most_gpus(folder))
    try:
        found.call("start", *NODES, "--gpus", str(found.gpus), "--port", str(PORT))
        # The job step drops SLURM_CONF; these wrappers of the client programs bring it back.
        found.variables["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        found.variables["PATH"] = f"{folder / 'bin'}:{found.variables['PATH']}"
        yield found
    finally:
        found.call("stop")
        shutil.rmtree(folder, ignore_errors=True)


# Seconds between two questions to the queue; a cluster with many users wants 40.
EVERY = 2
# Enough to be disturbed; every fifth leaves a resume point.
TRAINING_STEPS = 80
# One entry, one model that trains long enough to be disturbed, and the oracle.
FAULTS = {
    "name": "faults",
    "study": "sat",
    "data_kind": "synthetic",
    "raw_root": "results/faults/raw",
    "cohort": {"patients": 4, "test_patients": 1},
    "entries": ["msd_spleen"],
    "models": ["sat-nano", "oracle"],
    "presets": {"sat-nano": "config/training.yaml"},
    "shard_size": 50,
    "space": ["native"],
    "tolerance_mm": [1.0],
    "seed": 0,
}


@pytest.fixture(scope="session")
def slurm_clone(new_clone: Callable[..., Any], cluster: Cluster) -> Callable[[Path], Any]:
    """`slurm_clone(folder)` makes a clone that submits to the cluster."""

    def make(folder: Path) -> Any:
        clone = new_clone(folder, **cluster.variables)
        preset = yaml.safe_load((ROOT / "sat" / "presets" / "smoke.yaml").read_text())
        preset["training"] |= {"steps": TRAINING_STEPS, "batch": 1}
        (folder / "config" / "training.yaml").write_text(yaml.safe_dump(preset))
        (folder / "config" / "faults.yaml").write_text(yaml.safe_dump(FAULTS))
        clone.edit_profile(slurm_init_seconds_before_status_checks=EVERY, latency_wait=20)
        return clone

    return make


@pytest.fixture
def clone(tmp_path: Path, slurm_clone: Callable[[Path], Any]) -> Iterator[Any]:
    """An empty clone that submits to the cluster."""
    made = slurm_clone(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, slurm_clone: Callable[[Path], Any]
) -> tuple[Any, Path]:
    """A local run to its end, and a copy of it from before the training."""
    local = slurm_clone(tmp_path_factory.mktemp("undisturbed"))
    arguments = ("--configfile", "config/faults.yaml", "--cores", "2")
    local.run(*arguments, "--until", "prepare_sat")
    copy = tmp_path_factory.mktemp("copy") / "prepared"
    shutil.copytree(local.folder, copy)
    local.run(*arguments, "tables")
    return local, copy


@pytest.fixture
def prepared(tmp_path: Path, undisturbed: tuple[Any, Path], cluster: Cluster) -> Iterator[Any]:
    """A clone in which everything up to the training is done; any fault may follow."""
    local, copy = undisturbed
    made = type(local)(tmp_path / "clone", local.environment)
    shutil.copytree(copy, made.folder)
    yield made
    made.stop()
    for job in cluster.jobs(ACTIVE):
        if job["folder"] == str(made.folder):
            cluster.run("scancel", job["id"])
