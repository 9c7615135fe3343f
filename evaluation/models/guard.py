"""The guard of `guarding.py`, a script: its stdin is the pipe that closes with its parent."""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Any

import psutil

# Linux: what loses its parent becomes the guard's child, so that it can be found and ended.
_PR_SET_CHILD_SUBREAPER = 36
_SAID = 300


def main() -> None:
    """Say where the scratch folder is, run what is asked for, clean up when the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, since a signal that is ignored would be ignored by the program too.
        signal.signal(number, lambda *_: None)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    folder = tempfile.mkdtemp(prefix="satbench-")
    try:
        _say(folder)
        request = sys.stdin.readline()
        if request:
            closed = threading.Thread(target=_end_when_closed, daemon=True)
            closed.start()
            _say(json.dumps(_run(**json.loads(request))))
            closed.join()
    finally:
        _end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], timeout_s: float) -> dict[str, Any]:
    try:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        return {"fault": str(error)}
    last = bytearray()
    listener = threading.Thread(target=_listen, args=(program, last), daemon=True)
    listener.start()
    code: int | None
    try:
        code = program.wait(timeout_s)
    except subprocess.TimeoutExpired:
        code = None
    # What it left in the background could still write into the answers.
    _end_all()
    listener.join(timeout=5)
    return {"code": code, "said": bytes(last).decode("utf-8", "replace").strip()[-_SAID:]}


def _listen(program: subprocess.Popen[bytes], last: bytearray) -> None:
    """Keep the end of what a program says: some never stop, and would fill the disk."""
    assert program.stderr is not None
    while piece := program.stderr.read(1 << 16):
        last += piece
        del last[: -4 * _SAID]


def _end_when_closed() -> None:
    sys.stdin.read()
    _end_all()


def _end_all() -> None:
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=5)


def _say(line: str) -> None:
    with suppress(BrokenPipeError):
        print(line, flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()
