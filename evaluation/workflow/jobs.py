"""What ran where, how long, with which resources, and what failed: from logs and benchmarks."""

from __future__ import annotations

import csv
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from evaluation.errors import BenchError
from evaluation.files.writing import visible
from evaluation.paths import RunPaths
from evaluation.runs.provenance import step_and_job

# Set by the workflow: a job's log then begins with the place where it ran, and ends with its end.
HEAD_VARIABLE = "SATBENCH_LOG_HEAD"
_HEAD = re.compile(r"^# started (?P<start>\S+) on (?P<host>\S+)(?: in Slurm job (?P<slurm>\S+))?$")
_FOOT = re.compile(r"^# ended \S+ with exit code (?P<code>-?\d+)$", re.MULTILINE)
_FAULT = re.compile(
    r"^(satbench: |Traceback \(most recent call last\)|Killed|\w*Error: )", re.MULTILINE
)
TAIL_BYTES = 65536

Status = Literal["done", "failed", "unfinished"]


@dataclass(frozen=True)
class JobReport:
    """One job of a run when it last ran: where, what it took (NaN: not measured), what it said.

    `status` is `done`, `failed` (it said so at its end) or `unfinished` (it runs, or was killed
    without a word).
    """

    stage: str
    job: str
    status: Status
    host: str
    slurm_job: str
    started: str
    seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    threads: str
    resources: str
    log: str
    message: str


def log_head(environment: Mapping[str, str]) -> str:
    """The first line of a job's log."""
    start = datetime.now(UTC).isoformat(timespec="seconds")
    job = environment.get("SLURM_JOB_ID")
    node = environment.get("SLURMD_NODENAME") or platform.node()
    return f"# started {start} on {node}" + (f" in Slurm job {job}" if job else "")


def log_foot(code: int) -> str:
    """The last line of a job's log, unless the job is killed."""
    return f"# ended {datetime.now(UTC).isoformat(timespec='seconds')} with exit code {code}"


def job_reports(run: Path) -> list[JobReport]:
    """All jobs of a run that have a log or a benchmark record, by stage and name.

    Raises:
        BenchError: no run there, or nothing of it has started yet.
    """
    paths = RunPaths(run)
    benchmarks = run / "benchmarks"
    units = {_unit(path, paths.log_folder) for path in visible(paths.log_folder, "**/*.log")}
    units |= {_unit(path, benchmarks) for path in visible(benchmarks, "**/*.tsv")}
    if not units:
        raise BenchError(
            "no job of this run has started",
            file=paths.log_folder,
            hint="start it with snakemake; `snakemake -n` shows what it would do",
        )
    reports = [_report(unit, paths) for unit in units]
    return sorted(reports, key=lambda report: (report.stage, report.job))


def _unit(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).with_suffix("").parts


def _report(unit: tuple[str, ...], paths: RunPaths) -> JobReport:
    relative = Path(*unit)
    log = paths.log_folder / relative.with_name(relative.name + ".log")
    record = paths.root / "benchmarks" / relative.with_name(relative.name + ".tsv")
    head, tail = _ends(log)
    place = _HEAD.match(head)
    measured = _measured(record)
    ends = _FOOT.findall(tail)
    status: Status = "unfinished"
    if ends:
        status = "done" if ends[-1] == "0" else "failed"
    elif not log.is_file() and measured:
        status = "done"
    if status != "done":
        measured = {}  # of an earlier success
    step, job = step_and_job(unit, paths)
    return JobReport(
        stage=step,
        job=job,
        status=status,
        host=place["host"] if place else "",
        slurm_job=(place["slurm"] or "") if place else "",
        started=place["start"] if place else "",
        seconds=_number(measured, "s"),
        cpu_seconds=_number(measured, "cpu_time"),
        peak_memory_mib=_number(measured, "max_rss"),
        threads=measured.get("threads", ""),
        resources=_resources(measured.get("resources", "")),
        log=str(log) if log.is_file() else "",
        message=_message(tail) if status == "failed" else "",
    )


def _message(tail: str) -> str:
    """What the job said when it failed, on one line."""
    said = _FOOT.sub("", tail)
    fault = _FAULT.search(said)
    lines = [x for x in said[fault.start() if fault else 0 :].splitlines() if x.strip()]
    crashed = bool(lines) and lines[0].startswith("Traceback")
    shown = lines[-1:] if crashed or fault is None else lines[:5]
    return " ".join(word for line in shown for word in line.split())


def _ends(log: Path) -> tuple[str, str]:
    if not log.is_file():
        return "", ""
    with log.open("rb") as stream:
        head = stream.readline(400).decode("utf-8", "replace").rstrip("\n")
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        return head, stream.read().decode("utf-8", "replace")


def _measured(record: Path) -> dict[str, str]:
    if not record.is_file():
        return {}
    text = record.read_text(encoding="utf-8", errors="replace")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    # A job that is killed leaves half a line.
    return {k: v for k, v in rows[-1].items() if k and v} if rows else {}


def _number(measured: Mapping[str, str], column: str) -> float:
    try:
        return float(measured[column])
    except (KeyError, ValueError):
        return float("nan")


def _resources(text: str) -> str:
    """`gpu=1 mem_mb=64000 runtime=120` from the record's JSON; the rest is Snakemake's own."""
    try:
        found = dict(json.loads(text.replace("'", '"')))
    except (ValueError, TypeError):
        return ""
    wanted = ("gpu", "gpu_model", "mem_mb", "runtime", "slurm_partition")
    return " ".join(f"{key}={found[key]}" for key in wanted if found.get(key) not in (None, 0, ""))
