"""nnU-Net runs in a process of its own: its environment variables never reach ours.

A request is a JSON file, an answer is a marked line of the child's output; everything else that
the child prints goes to a log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError
from evaluation.files.writing import write_json

MARK = "@satbench "
PARENT = "SATBENCH_PARENT"
SETTINGS = "SATBENCH_NNUNET_SETTINGS"
LOCKED = 75
TRAINER_FOLDER = Path(__file__).resolve().parent / "trainer"
DATA_FOLDERS = {
    "nnUNet_raw": "raw",
    "nnUNet_preprocessed": "preprocessed",
    "nnUNet_results": "trained",
}


def environment(
    folder: Path, *, threads: int, workers: int = 1, augmentation_workers: int | None = None
) -> dict[str, str]:
    """Environment of a child that works in a specialist's folder.

    What the user has set for another nnU-Net of theirs is dropped, except the switch of
    torch.compile, which depends on the machine. Waiting threads sleep, since
    busy waiting is several times slower where jobs share cores.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().startswith("nnunet") or name == "nnUNet_compile"
    }
    ours |= {name: str((folder / sub).resolve()) for name, sub in DATA_FOLDERS.items()}
    ours |= {
        "nnUNet_extTrainer": str(TRAINER_FOLDER),
        "nnUNet_def_n_proc": str(workers),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
        PARENT: str(os.getpid()),
    }
    if augmentation_workers is not None:
        ours["nnUNet_n_proc_DA"] = str(augmentation_workers)
    return ours


def run_child(
    command: str, request: Mapping[str, Any], log: Path, variables: Mapping[str, str]
) -> Iterator[str]:
    """Start `baselines.nnunet.entry COMMAND`, yield its lines, and raise if it fails.

    The child is killed if the caller stops early, and dies with this process even if that is
    killed. `request` is written beside the log.

    Raises:
        BenchError: the child failed; the log and its last words are named.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    request_file = log.with_suffix(".request.json")
    write_json(request_file, request)
    last: list[str] = []
    with log.open("a", encoding="utf-8") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "baselines.nnunet.entry", command, str(request_file)],
            env=dict(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        assert child.stdout is not None
        try:
            for line in child.stdout:
                stream.write(line)
                stream.flush()
                if line.strip():
                    last = [*last[-4:], line.strip()]
                yield line.rstrip("\n")
            code = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            child.stdout.close()
    if code != 0:
        raise _failure(command, code, log, last)


def message_of(line: str) -> dict[str, Any] | None:
    """The answer in a marked line; None for nnU-Net's own output."""
    if not line.startswith(MARK):
        return None
    answer: dict[str, Any] = json.loads(line[len(MARK) :])
    return answer


def _failure(command: str, code: int, log: Path, last: list[str]) -> BenchError:
    if code == LOCKED:
        return BenchError(
            "another process is working on this specialist",
            file=log,
            found=last[-1] if last else None,
            hint="wait until it has ended; if it hangs, stop it and start again",
        )
    if code < 0:
        name = signal.Signals(-code).name
        hint = "run the same command again, it continues"
        if name == "SIGKILL":
            hint = "SIGKILL often means that memory ran out: give the job more, then run it again"
        return BenchError(f"nnU-Net ({command}) was stopped by {name}", file=log, hint=hint)
    return BenchError(
        f"nnU-Net ({command}) ended with exit code {code}",
        file=log,
        found=" | ".join(last[-2:]),
        hint="read the log; after the fault is put right, the same command continues",
    )
