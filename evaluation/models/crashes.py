"""What a model crashed on is remembered: the next call leaves that case out and does the others.

A fault in a library (SIGSEGV, SIGABRT and the like) ends the whole process, and nothing in it can
go on. Python's fault handler writes its last words behind the name of the case that was asked; a
process that is killed from outside writes none, and its case is simply asked again.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path

_ASKED = "asked: "
_FATAL = "Fatal Python error: "


class CrashBook:
    """The notes beside a shard's status table, there while the shard is not done.

    Args:
        status: the table.
    """

    def __init__(self, status: Path) -> None:
        self.path = status.with_name(f".asked-{status.stem}.txt")

    def crashed(self) -> dict[str, str]:
        """Why the process ended, for each case that ended one."""
        found: dict[str, str] = {}
        case = ""
        if not self.path.is_file():
            return found
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(_ASKED):
                case = line.removeprefix(_ASKED)
            elif case and line.startswith(_FATAL):
                found[case] = line.removeprefix(_FATAL)
        return found

    @contextmanager
    def open(self) -> Iterator[Callable[[str], None]]:
        """Note what crashes within the block; what is yielded is told each case before it is asked.

        Python has one fault handler for the whole process.
        """
        known = self.crashed()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = faulthandler.is_enabled()
        with self.path.open("w", encoding="utf-8") as stream:
            for case, why in known.items():
                print(f"{_ASKED}{case}\n{_FATAL}{why}", file=stream, flush=True)
            faulthandler.enable(stream, all_threads=False)
            try:
                yield lambda case: print(f"{_ASKED}{case}", file=stream, flush=True)
            finally:
                faulthandler.disable()
                if before and sys.__stderr__ is not None:
                    with suppress(UnsupportedOperation):
                        faulthandler.enable(sys.__stderr__)

    def forget(self) -> None:
        """The shard is done."""
        self.path.unlink(missing_ok=True)
