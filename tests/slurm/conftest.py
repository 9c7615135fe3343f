"""A throw-away Slurm of two nodes with fake GPUs, and clones of the workflow that use it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
PACKAGES = "slurmctld slurmd slurm-client munge"
ACTIVE = "PENDING,RUNNING,CONFIGURING,COMPLETING,REQUEUED,SUSPENDED"
# Two nodes of this host claim more than it has; jobs ask for what a real one would need.
NODES = ("--nodes", "2", "--cpus", "2", "--mem", "40000", "--gpus", "2", "--port", "17917")


@dataclass
class Cluster:
    """The cluster; `environment` makes the Slurm commands of any process talk to it."""

    tool: Path
    folder: Path
    environment: dict[str, str]

    def call(self, action: str, *arguments: str) -> str:
        return self.run(str(self.tool), action, str(self.folder), *arguments)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
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
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{path}",
        # The clones hold folders named like our packages.
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    found = Cluster(tool, folder, environment)
    try:
        found.call("start", *NODES)
        # The job step drops SLURM_CONF; these wrappers of the client programs bring it back.
        environment["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
        yield found
    finally:
        found.call("stop")
        shutil.rmtree(folder, ignore_errors=True)


TRAINING_STEPS = 80


@dataclass
class Clone:
    """The files that `snakemake` reads, and the runs that were started in their folder."""

    folder: Path
    environment: dict[str, str]
    config: str
    training_steps: int = TRAINING_STEPS
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        return self.folder / "results" / Path(self.config).stem

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake in a session of its own; its output goes to `snakemake-N.log`."""
        snakemake = str(Path(sys.executable).parent / "snakemake")
        with self.log(len(self.started)).open("wb") as stream:
            process = subprocess.Popen(
                [snakemake, "--configfile", self.config, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def log(self, number: int) -> Path:
        return self.folder / f"snakemake-{number}.log"

    @property
    def said(self) -> str:
        """What the last started Snakemake has printed."""
        return self.log(len(self.started) - 1).read_text(errors="replace")

    def finish(self, process: subprocess.Popen[bytes], timeout: float = 800) -> int:
        return process.wait(timeout=timeout)

    def complete(self, *arguments: str) -> str:
        """Run to the end and return everything that was printed; fail the test otherwise."""
        code = self.finish(self.start(*arguments))
        assert code == 0, self.said[-6000:]
        return self.said

    def edit_profile(self, **changes: Any) -> None:
        """What an administrator does: edit `slurm/config.yaml` (`set-resources` are merged)."""
        path = self.folder / "slurm" / "config.yaml"
        values = yaml.safe_load(path.read_text())
        for rule, resources in changes.pop("set_resources", {}).items():
            values["set-resources"].setdefault(rule, {}).update(resources)
        values |= {key.replace("_", "-"): value for key, value in changes.items()}
        path.write_text(yaml.safe_dump(values))

    def until(self, reached: Callable[[], object], seconds: float = 600) -> None:
        """Wait for something to happen while the last started Snakemake runs."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.started[-1].poll() is None, f"ended before:\n{self.said[-4000:]}"
            assert time.monotonic() < deadline, f"did not happen:\n{self.said[-4000:]}"
            time.sleep(0.1)

    def training(self) -> list[psutil.Process]:
        """Processes of `satbench sat train` in this clone."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if "train" in words and "sat" in words and process.cwd() == str(self.folder):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    @property
    def resume_point(self) -> Path:
        return self.run_folder / "runs" / "sat-nano" / "last.pt"

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


# One entry, one model that trains long enough to be disturbed, and the oracle.
FAULTS = {
    "name": "faults",
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
# Seconds between two questions to the queue; a cluster with many users wants 40.
EVERY = 2


def make_clone(folder: Path, environment: dict[str, str], config: str) -> Clone:
    shutil.copy(ROOT / "Snakefile", folder)
    for package in ("evaluation", "sat", "baselines", "reports"):
        (folder / package).mkdir()
        shutil.copy(ROOT / package / "rules.smk", folder / package)
    for name in ("config", "profiles", "slurm"):
        shutil.copytree(ROOT / name, folder / name)
    preset = yaml.safe_load((ROOT / "sat" / "presets" / "smoke.yaml").read_text())
    preset["training"]["steps"] = TRAINING_STEPS
    (folder / "config" / "training.yaml").write_text(yaml.safe_dump(preset))
    (folder / "config" / "faults.yaml").write_text(yaml.safe_dump(FAULTS))
    clone = Clone(folder, environment, config)
    clone.edit_profile(slurm_init_seconds_before_status_checks=EVERY, latency_wait=20)
    return clone


@pytest.fixture
def clone(tmp_path: Path, cluster: Cluster) -> Iterator[Clone]:
    """An empty clone with the smoke configuration."""
    made = make_clone(tmp_path, cluster.environment, "config/smoke.yaml")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> tuple[Clone, Path]:
    """A local run to its end, and a copy of it from before the training."""
    folder = tmp_path_factory.mktemp("undisturbed")
    local = make_clone(folder, cluster.environment, "config/faults.yaml")
    local.complete("--cores", "2", "--until", "prepare_sat")
    copy = tmp_path_factory.mktemp("copy") / "prepared"
    shutil.copytree(folder, copy)
    local.complete("--cores", "2", "tables")
    return local, copy


@pytest.fixture
def prepared(tmp_path: Path, undisturbed: tuple[Clone, Path], cluster: Cluster) -> Iterator[Clone]:
    """A clone in which everything up to the training is done; any fault may follow."""
    folder = tmp_path / "clone"
    shutil.copytree(undisturbed[1], folder)
    made = Clone(folder, cluster.environment, "config/faults.yaml")
    yield made
    made.stop()
    for job in cluster.jobs(ACTIVE):
        if job["folder"] == str(folder):
            cluster.run("scancel", job["id"])
