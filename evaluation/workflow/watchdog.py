"""A job ends with the workflow that started it.

Snakemake that is killed by SIGKILL cannot stop its jobs. An orphaned training would go on
writing its folder, and hold the lock that the next start of the same command waits for. So the
workflow names its process in the environment, and each job looks every second whether it is
still there.
"""

from __future__ import annotations

import os
import threading
import time

import psutil

VARIABLE = "SATBENCH_WORKFLOW_PID"
INTERVAL_S = 1.0


def announce_workflow() -> None:
    """Tell the jobs of this process whom they belong to; called by the Snakefile.

    Inside a cluster job, the job's own Snakemake process calls it again, so a process number
    never crosses to another machine.
    """
    os.environ[VARIABLE] = str(os.getpid())


def end_with_workflow() -> None:
    """Watch the announced process from a thread, and kill this process when it is gone."""
    value = os.environ.get(VARIABLE, "")
    if not value.isdigit():
        return
    try:
        workflow = psutil.Process(int(value))
    except psutil.NoSuchProcess:
        psutil.Process().kill()
        return
    # `is_running` compares the start time too: a number that was given to another process
    # does not pass for the workflow.
    threading.Thread(target=_watch, args=(workflow,), daemon=True).start()


def _watch(workflow: psutil.Process) -> None:
    while workflow.is_running() and workflow.status() != psutil.STATUS_ZOMBIE:
        time.sleep(INTERVAL_S)
    psutil.Process().kill()
