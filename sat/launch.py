"""Start SAT-Nano's training on as many GPUs as the scheduler gave: one, one node's, several nodes'.

One process needs nothing besides. Several on one node are started by torchrun; on several nodes
inside a Slurm job, srun starts one torchrun on each of them. Which rank does what is the
training's business (`sat.train`); this module only finds out who is there and builds commands.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import BenchError
from evaluation.workflow.jobs import HEAD_VARIABLE
from evaluation.workflow.watchdog import VARIABLE as WORKFLOW_VARIABLE

# Where the processes of several nodes meet: a port of its own for each of 10,000 jobs.
FIRST_PORT = 20000
PORTS = 10000
QUERY_SECONDS = 60


@dataclass(frozen=True)
class Layout:
    """How a training is spread: `processes` on each of `nodes`, each with so many CPU threads."""

    nodes: int
    processes: int
    threads: int

    @property
    def alone(self) -> bool:
        """Whether there is one process in all, which needs no launcher."""
        return self.nodes == self.processes == 1


@dataclass(frozen=True)
class Allocation:
    """What Slurm gave to this job: its number, its first node's address, CPUs on each node."""

    job: int
    address: str
    cpus_per_node: int

    @property
    def endpoint(self) -> str:
        """Where the processes meet, `address:port`."""
        return f"{self.address}:{FIRST_PORT + self.job % PORTS}"


def find_layout(gpus: int, nodes: int, threads: int, environment: Mapping[str, str]) -> Layout:
    """One process for each GPU; one on each node where there is none.

    Args:
        gpus: GPUs of the whole job, as in `--gpus` of sbatch. With 0, those that Slurm shows to
            this node count (`gres` or `--gpus-per-node` instead of `gpu`).
        nodes: nodes of the job.
        threads: CPU threads of each node, shared by its processes.
        environment: of this process.

    Raises:
        BenchError: the GPUs cannot be shared equally by the nodes.
    """
    if gpus % nodes:
        raise BenchError(
            "a training wants the same number of GPUs on each of its nodes",
            found=f"{gpus} GPUs on {nodes} nodes",
            hint="`gpu` of rule train_sat counts over all nodes: make it a multiple of `nodes`",
        )
    visible = environment.get("CUDA_VISIBLE_DEVICES", "") if "SLURM_JOB_ID" in environment else ""
    shown = len(re.findall(r"[^,\s]+", visible)) if visible != "NoDevFiles" else 0
    processes = gpus // nodes or max(1, shown)
    return Layout(nodes, processes, max(1, threads // processes))


def one_node_command(layout: Layout, training: Sequence[str]) -> list[str]:
    """Torchrun on this machine, which finds a free port itself."""
    return _torchrun(layout, ["--standalone"], training)


def srun_command(layout: Layout, training: Sequence[str], allocation: Allocation) -> list[str]:
    """One torchrun on each node of the allocation; all end when one fails."""
    gpus = [f"--gpus-per-node={layout.processes}"] if layout.processes > 1 else []
    meeting = [
        "--rdzv-backend=c10d",
        f"--rdzv-id={allocation.job}",
        f"--rdzv-endpoint={allocation.endpoint}",
    ]
    return [
        "srun",
        f"--nodes={layout.nodes}",
        f"--ntasks={layout.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={allocation.cpus_per_node}",
        *gpus,
        "--kill-on-bad-exit=1",
        *_torchrun(layout, meeting, training),
    ]


def _torchrun(layout: Layout, meeting: Sequence[str], training: Sequence[str]) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={layout.nodes}",
        f"--nproc-per-node={layout.processes}",
        "--max-restarts=0",  # the workflow's next attempt goes on from the last resume point
        *meeting,
        "--",  # or torchrun takes options of the training for abbreviations of its own
        *training,
    ]


def training_command(run: Path, layout: Layout) -> list[str]:
    """What each process does."""
    satbench = str(Path(sys.executable).with_name("satbench"))
    return [satbench, "sat", "train", "--run", str(run), "--threads", str(layout.threads)]


def find_allocation(environment: Mapping[str, str]) -> Allocation:
    """The Slurm job that this process belongs to.

    Snakemake's job step removes most of Slurm's variables, so Slurm itself is asked.

    Raises:
        BenchError: this is no Slurm job, or Slurm does not answer.
    """
    job = environment.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        raise BenchError(
            "a training on several nodes runs inside a Slurm job",
            found="SLURM_JOB_ID is not set",
            hint="use `snakemake --profile slurm` (slurm/README.md, GPUs), or one node",
        )
    shown = _ask("scontrol", "show", "job", "--oneliner", job)
    nodes = _ask("scontrol", "show", "hostnames", _field("NodeList", shown)).split()
    node = _ask("scontrol", "show", "node", "--oneliner", nodes[0])
    return Allocation(int(job), _field("NodeAddr", node), int(_field("CPUs/Task", shown)))


def _ask(*command: str) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise BenchError(
            "cannot ask Slurm on which nodes this job runs",
            found=str(said).strip(),
            expected=f"an answer to `{' '.join(command)}`",
        ) from error


def _field(name: str, shown: str) -> str:
    found = re.search(rf"(?:^|\s){re.escape(name)}=(\S+)", shown)
    if found is None:
        raise BenchError(f"Slurm does not say the job's {name}", found=shown.strip()[:400])
    return found.group(1)


def children_environment(layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment of the processes: one log has one head, and only we write it.

    On other nodes, the number of this machine's workflow process would mean another process or
    none; there, Slurm ends them with their job.
    """
    dropped = {HEAD_VARIABLE, *([WORKFLOW_VARIABLE] if layout.nodes > 1 else [])}
    return {name: value for name, value in environment.items() if name not in dropped}


def launch(run: Path, layout: Layout) -> None:
    """Train with several processes, and wait for them.

    Raises:
        BenchError: a process failed; what it said stands in the same log.
    """
    training = training_command(run, layout)
    if layout.nodes == 1:
        command = one_node_command(layout, training)
    else:
        command = srun_command(layout, training, find_allocation(os.environ))
    child = subprocess.Popen(command, env=children_environment(layout, os.environ))
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        code = child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
        if child.poll() is None:
            child.kill()
            child.wait()
    if code != 0:
        raise BenchError(
            f"a training of {layout.nodes} x {layout.processes} processes ended with exit code "
            f"{code}",
            hint="the reason stands above in this log; the same command goes on from the last "
            "resume point",
        )
