"""Jobs in a Slurm queue that outlive the Snakemake which submitted them.

The executor names all jobs of one Snakemake process by one id. It is noted in the run's folder,
so that a new Snakemake finds what a killed one left in the queue, even where several runs share
a working folder.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError
from evaluation.files.writing import write_text
from evaluation.paths import RunPaths

_RUN_ID = re.compile(r"SLURM run ID: (\S+)")
# States in which a job no longer writes anything.
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
}
# Ids of Snakemake processes long gone; more than a run is ever started while jobs still live.
KEPT = 50
QUERY_SECONDS = 60
PATIENCE_SECONDS = 20.0
EXECUTOR = "snakemake_executor_plugin_slurm"
_log = logging.getLogger(__name__)

# The executor's question for the states of all jobs: command -> states by job id, and seconds.
Answer = tuple[dict[str, str] | None, float | None]
Question = Callable[[str, Any], Awaitable[Answer]]


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs; `what` is the executor's comment: rule and wildcards."""

    id: str
    state: str
    name: str
    what: str


def submissions_file(paths: RunPaths) -> Path:
    """Names under which the Snakemake processes of this run submitted their jobs."""
    return paths.root / ".slurm-submissions"


def jobs_left(names: list[str]) -> list[QueuedJob]:
    """Jobs of those names that have not ended; none on a machine without Slurm.

    Raises:
        BenchError: Slurm does not answer.
    """
    if not names or shutil.which("squeue") is None:
        return []
    form = "--format=%i|%T|%j|%k"
    command = ["squeue", "--noheader", "--states=all", form, f"--name={','.join(names)}"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise BenchError(
            "cannot ask Slurm for jobs of an earlier start of this run",
            found=str(said).strip(),
            hint="start again when `squeue` answers",
        ) from error
    fields = (line.split("|", 3) for line in answer.stdout.splitlines() if line.count("|") >= 3)
    jobs = [QueuedJob(*field) for field in fields]
    return [job for job in jobs if job.state not in _ENDED]


def refuse_while_jobs_are_left(paths: RunPaths) -> None:
    """Stop before anything is submitted twice.

    Raises:
        BenchError: jobs of a killed Snakemake still wait or run for this run.
    """
    path = submissions_file(paths)
    names = path.read_text(encoding="utf-8").split() if path.is_file() else []
    jobs = jobs_left(names)
    if not jobs:
        return
    listed = "; ".join(f"{job.id} {job.state} {job.what}" for job in jobs[:8])
    more = f"; and {len(jobs) - 8} more" if len(jobs) > 8 else ""
    raise BenchError(
        f"{len(jobs)} Slurm job(s) of an earlier start of this run have not ended",
        file=path,
        found=listed + more,
        hint="wait until they have ended (their results will be used), or end them with "
        f"`scancel --name={','.join(sorted({job.name for job in jobs}))}` (a training goes on "
        "from its last resume point); then give the same command again",
    )


def remember_submission(paths: RunPaths, logs: Sequence[str]) -> None:
    """Note the id under which this Snakemake submits, if its logs have one."""
    files = [Path(log) for log in logs]
    text = "".join(f.read_text(encoding="utf-8") for f in files if f.is_file())
    found = _RUN_ID.search(text)
    if found is None:
        return
    path = submissions_file(paths)
    known = path.read_text(encoding="utf-8").split() if path.is_file() else []
    write_text(path, "\n".join([*known, found.group(1)][-KEPT:]) + "\n")


def ask_until_answered() -> None:
    """Make the Slurm executor of this process repeat a question that Slurm did not answer.

    The executor (2.8) forgets all jobs when a question fails, for instance while the controller
    restarts, and then waits for ever. It also asks `sacct` after one slow answer, which never
    knows the jobs of a cluster without accounting.
    """
    executor = sys.modules.get(EXECUTOR)
    question = getattr(executor, "query_job_status", None)
    if question is not None and not hasattr(question, "patient"):
        executor.query_job_status = patient(question)  # type: ignore[union-attr]


def patient(question: Question, wait_seconds: float = PATIENCE_SECONDS) -> Question:
    """The same question, asked again, of `squeue` too, until there is an answer."""

    async def ask(command: str, logger: Any) -> Answer:
        name = re.search(r"--name[= ](\S+)", command)
        commands = [command]
        if name and not command.startswith("squeue"):
            commands.append(
                f"squeue --format='%i|%T' --states=all --noheader --name={name.group(1)}"
            )
        while True:
            for asked in commands:
                states, seconds = await question(asked, logger)
                if states is not None:
                    return states, seconds
            _log.warning("Slurm does not say how the jobs are; asking again")
            await asyncio.sleep(wait_seconds)

    ask.patient = True  # type: ignore[attr-defined]
    return ask
