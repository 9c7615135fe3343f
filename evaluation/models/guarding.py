"""A program of a model's own, which never outlives the command that started it.

A second process, the guard (`guard.py`), starts the program and watches a pipe: when the command
has ended, in whatever way, the kernel closes the pipe, and the guard ends the program with all
that it started and deletes the scratch folder. A `finally` would not run after SIGKILL.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import BenchError
from evaluation.models import guard as guard_script


@dataclass(frozen=True)
class Guard:
    """A scratch folder, and one program that may run in the guard's care."""

    folder: Path
    process: subprocess.Popen[str]

    def run(self, command: Sequence[str], timeout_s: float) -> BenchError | None:
        """Run the program to its end; None if it succeeded, otherwise why not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"command": list(command), "timeout_s": timeout_s}
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            answer = {"fault": "the process that starts and watches it was killed"}
        if "fault" in answer:
            return BenchError(
                "the model's command cannot be started", file=command[0], found=answer["fault"]
            )
        if answer["code"] is None:
            return BenchError(
                f"the model's command took more than {timeout_s:g} s", file=command[0]
            )
        if answer["code"]:
            return BenchError(
                f"the model's command ended with exit code {answer['code']}",
                file=command[0],
                found=answer["said"] or "nothing on stderr",
            )
        return None


@contextmanager
def guarded() -> Iterator[Guard]:
    """A guard and its scratch folder, both gone after the block and after a kill in it."""
    with subprocess.Popen(
        [sys.executable, "-P", guard_script.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A signal to the command's process group must not reach the one who cleans up after it.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        folder = process.stdout.readline().rstrip("\n")
        if not folder:
            raise BenchError(
                "a folder for the model's command cannot be made",
                file=tempfile.gettempdir(),
                hint="free some space, or name a larger disk in the environment variable TMPDIR",
            )
        yield Guard(Path(folder), process)
