"""How far long work is: a bar on a terminal, a line for each item in a log.

A bar that is redrawn is unreadable in a file, and a file that says nothing for hours does not tell
a slow job from a hanging one.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm


def duration(seconds: float) -> str:
    """Such as `4.2 s`, `3 min` or `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Progress:
    """A context manager; `done` is called with each item when it is finished.

    Args:
        title: such as `nnunet on acdc`.
        total: items to do now.
        kept: items that were done before and stay as they are.
        unit: what an item is.
    """

    def __init__(self, title: str, total: int, kept: int = 0, unit: str = "case") -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done, self._start = 0, time.monotonic()
        self._bar = tqdm(total=total, desc=title, unit=unit, disable=None)
        if self._bar.disable:
            before = f", {kept} done before" if kept else ""
            self._line(f"{unit}s: {total} to do{before}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def done(self, item: str, seconds: float, status: str = "") -> None:
        """One more is finished.

        Args:
            item: its name.
            seconds: that it took.
            status: what became of it, if that is worth a word.
        """
        self._done += 1
        self._bar.update()
        if not self._bar.disable:
            return
        left = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        rest = f"; about {duration(left)} left" if self._done < self._total else ""
        said = f" ({status})" if status else ""
        self._line(f"{self._done} of {self._total}, {item} in {duration(seconds)}{said}{rest}")

    def _line(self, text: str) -> None:
        tqdm.write(f"{self._title}: {text}", file=sys.stderr)
        sys.stderr.flush()
