"""Bars and warnings of `satbench segment` on stderr, so that stdout holds the answer alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from sat.segment.answer import Found
from sat.segment.many import Answered, segment_all
from sat.segment.segment import Progress, Request, segment_scan


def segment_shown(request: Request) -> list[Found]:
    """As `segment_scan`, with bars and warnings on stderr."""
    with Console() as console:
        return segment_scan(request, console.progress)


def segment_all_shown(request: Request, scans: Mapping[str, Path]) -> Iterator[Answered]:
    """As `segment_all`, with a bar or log lines, warnings and failures on stderr."""
    for answer in segment_all(request, scans, _warn):
        if answer.status == "failed":
            tqdm.write(f"failed: {answer.name}: {answer.reason}", file=sys.stderr)
        yield answer


def segment(**asked: Any) -> list[Found]:
    """As `segment_shown`, with the fields of a `Request`: what `satbench.segment` calls."""
    return segment_shown(Request(**asked))


class Console:
    """Two bars, one after the other: windows of the image, then classes. A context manager."""

    def __init__(self) -> None:
        self._bar: Any = None
        self.progress = Progress(_warn, self._encoded, self._segmented)

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _encoded(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, desc="image", unit="window")
        self._bar.update(done - self._bar.n)
        if done == total:
            self._close()

    def _segmented(self, name: str, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, desc="classes", unit="class")
        self._bar.set_postfix_str(name, refresh=False)
        self._bar.update(1)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _warn(sentence: str) -> None:
    tqdm.write(f"warning: {sentence}", file=sys.stderr)
