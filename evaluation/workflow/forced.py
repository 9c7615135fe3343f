"""Forced jobs (`--forcerun`, `--forceall`): what their steps have kept is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation.files.identity import ask_again

# Their rules make everything anew whenever they run.
_KEEP_NOTHING = frozenset({"all", "tables", "split", "audit", "aggregate", "record", "report"})


def mark_forced(dag: Any) -> int:
    """Mark the outputs of all forced jobs, so that their steps keep nothing older than now.

    A mark outlives a kill: the job then goes on with what it has made since.

    Args:
        dag: Snakemake's graph of jobs, once it is known which of them run.

    Returns:
        How many jobs were marked.
    """
    forced = [
        job
        for job in dag.needrun_jobs()
        if dag.reason(job).forced and job.rule.name not in _KEEP_NOTHING and job.output
    ]
    for job in forced:
        ask_again(Path(str(job.output[0])))
    return len(forced)
