"""One command at a time works on a run: a workflow, or an `add`, `remove` or `rename`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from evaluation.errors import BenchError
from evaluation.files.writing import write_json
from evaluation.paths import RunPaths
from evaluation.workflow.slurm import refuse_while_jobs_are_left


class RunLock:
    """The lock of a run folder; the kernel frees it with the process that holds it.

    Args:
        root: run folder.
        what: who asks, for the message that the next one gets.
    """

    def __init__(self, root: Path, what: str = "workflow") -> None:
        self._paths, self._what = RunPaths(root), what
        self._lock = FileLock(self._paths.lock)
        # The lock file itself is emptied by whoever tries to take it.
        self._holder = self._paths.lock.with_name(".lock-holder.json")

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            BenchError: another command holds it, or jobs of a killed workflow still run.
        """
        self._paths.root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            holder = self._read_holder()
            raise BenchError(
                f"another {holder['what']} works on this run",
                file=self._paths.lock,
                found=holder.get("who"),
                hint="wait for it or stop it; the lock goes with its process",
            ) from error
        refuse_while_jobs_are_left(self._paths)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        who = f"process {os.getpid()} on {platform.node()}, since {now}"
        write_json(self._holder, {"what": self._what, "who": who})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within the block.

        Raises:
            BenchError: as `acquire`.
        """
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give the lock back."""
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _read_holder(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._holder.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {"what": "workflow"}
