"""Jobs do not outlive the workflow that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

JOB = (
    "import time; from evaluation.workflow.watchdog import end_with_workflow; end_with_workflow(); "
    "print('up', flush=True); time.sleep(60)"
)


def start_job(workflow_pid: int | str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SATBENCH_WORKFLOW_PID": str(workflow_pid)}
    return subprocess.Popen(
        [sys.executable, "-c", JOB], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_job_is_killed_when_the_workflow_is_gone():
    workflow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with start_job(workflow.pid) as job:
        assert job.stdout.readline() == "up\n"
        workflow.kill()
        workflow.wait()
        assert job.wait(timeout=20) == -signal.SIGKILL


def test_job_of_a_workflow_that_is_gone_already_does_not_start():
    free = next(n for n in range(2**22 - 1, 1, -1) if not psutil.pid_exists(n))
    with start_job(free) as job:
        assert job.wait(timeout=20) == -signal.SIGKILL


@pytest.mark.parametrize("value", ["", "no number"])
def test_command_by_hand_is_left_alone(value):
    with start_job(value) as job:
        assert job.stdout.readline() == "up\n"
        time.sleep(1.5)
        assert job.poll() is None
        job.kill()
