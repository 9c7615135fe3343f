"""Starting a training on several processes: torchrun on one node, srun and torchrun on several.

Under Slurm, Snakemake's job step runs the shell on the first node of the allocation and strips
the list of nodes from the environment, so Slurm is asked for the address of the first node.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from evaluation.errors import BenchError
from evaluation.workflow.jobs import HEAD_VARIABLE
from evaluation.workflow.watchdog import VARIABLE as WORKFLOW

JOB = "SLURM_JOB_ID"
FIRST_PORT, PORTS = 20_000, 10_000
QUERY_SECONDS = 60


def torchrun_command(
    program: Sequence[str], processes: int, nodes: int = 1, endpoint: str | None = None
) -> list[str]:
    """The torchrun command that starts `processes` of a Python program in all.

    Args:
        program: a Python script and its arguments.
        processes: on all nodes together.
        nodes: the command has to be started once on each.
        endpoint: `host:port` where several nodes meet; its port also names the meeting.

    Raises:
        BenchError: the processes cannot be spread evenly, or several nodes have no endpoint.
    """
    if processes % nodes:
        raise BenchError(
            f"{processes} processes cannot be spread evenly over {nodes} nodes",
            hint="ask for a multiple of the nodes",
        )
    meeting = ["--standalone"]
    if nodes > 1:
        if endpoint is None:
            raise BenchError("several nodes need an endpoint to meet at", expected="host:port")
        meeting = [
            f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}",
            f"--rdzv-id={endpoint.rpartition(':')[2]}",
        ]  # fmt: skip
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting]
    # After `--`, because torchrun would take our `--run` for a short form of an option of its own.
    return [*torchrun, f"--nproc-per-node={processes // nodes}", "--", *program]


def srun_command(command: Sequence[str], nodes: int, threads: int) -> list[str]:
    """The srun command that starts a command once on each node of the allocation.

    Args:
        command: what to start.
        nodes: number of nodes.
        threads: CPUs of each node.
    """
    return [
        "srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1",
        f"--cpus-per-task={threads}", "--kill-on-bad-exit=1", *command,
    ]  # fmt: skip


def slurm_endpoint(environment: Mapping[str, str]) -> str:
    """Where the nodes of this Slurm job meet: the first one's address, and a port by the job.

    Raises:
        BenchError: not inside a Slurm job, or Slurm does not answer.
    """
    job = environment.get(JOB, "")
    if not job.isdigit():
        raise BenchError(
            "a training on several nodes is started inside a Slurm job", found=f"no {JOB}",
            hint="submit it with `snakemake --profile slurm`, or train on one node",
        )  # fmt: skip
    nodes = _field(_scontrol("show", "job", "-o", job), "NodeList")
    head = _scontrol("show", "hostnames", nodes).split()[0]
    address = _field(_scontrol("show", "node", "-o", head), "NodeAddr")
    return f"{address}:{FIRST_PORT + int(job) % PORTS}"


def _scontrol(*arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["scontrol", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=QUERY_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise BenchError("cannot ask Slurm for the nodes of this job", found=str(said)) from error
    return answer.stdout


def _field(text: str, name: str) -> str:
    """The value of `name=value` in an answer of scontrol; ` ExcNodeList=` is another name."""
    found = re.search(rf"(?:^|\s){name}=(\S+)", text)
    if found is None:
        raise BenchError("Slurm's answer is not understood", found=text[:200], expected=name)
    return found[1]


def cpus_of_node(environment: Mapping[str, str]) -> int:
    """CPUs that this Slurm job has on each node; a job's step has one unless it asks."""
    return int(_field(_scontrol("show", "job", "-o", environment[JOB]), "CPUs/Task"))


def children_environment(
    nodes: int, threads: int, environment: Mapping[str, str]
) -> dict[str, str]:
    """Environment of the processes: a log has one head and one foot, which this process writes.

    On other nodes the number of the workflow's process means nothing, so it is left out there;
    Slurm ends those processes with their job.
    """
    dropped = {HEAD_VARIABLE, *([WORKFLOW] if nodes > 1 else [])}
    kept = {name: value for name, value in environment.items() if name not in dropped}
    # Threads of torch are set by the program itself; without a value torchrun prints a warning.
    return {"OMP_NUM_THREADS": str(threads), **kept}


def launch(program: Sequence[str], processes: int, nodes: int, threads: int) -> None:
    """Start `processes` on `nodes` and wait for them.

    Raises:
        BenchError: one of them failed; what it said stands in the same log.
    """
    if nodes == 1:
        command = torchrun_command(program, processes)
    else:
        command = torchrun_command(program, processes, nodes, slurm_endpoint(os.environ))
        command = srun_command(command, nodes, cpus_of_node(os.environ))
    child = subprocess.Popen(command, env=children_environment(nodes, threads, os.environ))
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
            f"a training of {processes} processes ended with exit code {code}",
            hint="the reason stands above; the same command goes on from the last resume point",
        )
