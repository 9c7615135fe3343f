"""`satbench` commands in a process that is refused what Windows refuses.

A stand-in, not Windows: names that its Python lacks are gone, a file that is open can be neither
replaced nor deleted, only a file that is open for writing can be synced, files without a stated
encoding are an error, and the terminal knows no more than code page 1252.

    python -m tests.bench.like_windows '[["evaluate", "references", "predictions"], ...]'
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The libraries first: on Windows they have code of their own for it.
import cc3d
import filelock
import nibabel
import numba
import pandas as pd
import psutil
import pyarrow.parquet
import pydicom
import SimpleITK
import tqdm

LIBRARIES = (cc3d, filelock, nibabel, numba, pd, psutil, pyarrow, pydicom, SimpleITK, tqdm)
ABSENT = {
    os: (
        "fork", "register_at_fork", "getuid", "geteuid", "getgid", "getpgid", "setsid", "killpg",
        "sched_getaffinity", "posix_fallocate", "posix_fadvise", "pread", "statvfs", "sysconf",
        "mkfifo", "getloadavg", "nice", "O_DIRECTORY", "O_NOFOLLOW", "wait3", "wait4",
    ),
    signal: ("SIGALRM", "SIGKILL", "SIGHUP", "setitimer", "alarm", "ITIMER_REAL"),
}  # fmt: skip
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "pty", "posix")


def main() -> None:
    """Run the commands one after the other; the last line of stderr says their exit codes."""
    for module, names in ABSENT.items():
        for name in names:
            delattr(module, name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    _only_closed_files()
    _only_writable_files()
    warnings.filterwarnings("error", category=EncodingWarning, module=r"(evaluation|reports)\b")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="cp1252", errors="strict")  # type: ignore[union-attr]
    from evaluation.cli import main as satbench

    codes = []
    for arguments in json.loads(sys.argv[1]):
        sys.argv = ["satbench", *arguments]
        try:
            satbench()
        except SystemExit as end:
            codes.append(end.code)
    sys.stderr.write(f"{codes}\n")


def _only_closed_files() -> None:
    """`os.replace`, `os.rename`, `os.unlink` and `os.remove` refuse what this process has open."""
    taken: dict[str, Callable[..., Any]] = {
        name: getattr(os, name) for name in ("replace", "rename", "unlink", "remove")
    }

    def guarded(name: str) -> Callable[..., Any]:
        def call(*paths: Any, **options: Any) -> Any:
            if not options:
                for path in paths:
                    _refuse_open(Path(path).absolute())
            return taken[name](*paths, **options)

        return call

    for name in taken:
        setattr(os, name, guarded(name))


def _refuse_open(path: Path) -> None:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = descriptor.readlink()
        except OSError:
            continue
        if target == path:
            raise PermissionError(errno.EACCES, "the file is open", str(path))
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    if any(line.endswith(f" {path}") for line in mapped):
        raise PermissionError(errno.EACCES, "the file is mapped", str(path))


def _only_writable_files() -> None:
    sync, control = os.fsync, fcntl.fcntl

    def fsync(descriptor: Any) -> None:
        if control(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "open for reading only")
        sync(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


if __name__ == "__main__":
    main()
