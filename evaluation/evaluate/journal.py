"""Rows of cases that are done, kept beside the output so that a run can stop at any moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from evaluation import __version__
from evaluation.errors import BenchError
from evaluation.evaluate.inputs import Case
from evaluation.evaluate.pairing import CaseScores, Settings
from evaluation.files.identity import state_of
from evaluation.files.writing import write_text


class Journal:
    """One line of JSON for each finished case: its key, its rows and what was noticed.

    A line that was cut off by a kill is ignored, and its case is measured again. While the journal
    is open, no other process may write the same output.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f".{output.name}.cases.jsonl")
        self.output = output
        self._lock = FileLock(output.with_name(f".{output.name}.lock"))
        self._done: dict[str, CaseScores] = {}

    def __enter__(self) -> Journal:
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            # Before the lock, which would report some unwritable places as taken.
            self._stream = self.path.open("a", encoding="utf-8")
            self._lock.acquire(timeout=0)
        except Timeout as error:
            self._stream.close()
            raise BenchError(
                "another run is writing this output",
                file=self.output,
                hint="wait for it, or choose another --out",
            ) from error
        except OSError as error:
            self._lock.release()
            raise BenchError(
                "the output's folder cannot be written",
                file=self.output.parent,
                found=error.strerror or error,
                hint="choose another --out",
            ) from error
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                self._done[entry["key"]] = CaseScores(entry["rows"], tuple(entry["unnamed"]))
            except (ValueError, KeyError, TypeError):
                continue
        # What follows a line that was cut off must start on a line of its own.
        self._stream.write("\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._lock.release()

    def scores(self, key: str) -> CaseScores | None:
        """What is known of a finished case."""
        return self._done.get(key)

    def add(self, key: str, scores: CaseScores) -> None:
        """Keep a finished case; it is on disk when this returns."""
        self._done[key] = scores
        self._stream.write(_line(key, scores))
        self._stream.flush()

    def keep_only(self, keys: list[str]) -> None:
        """Forget all other cases, such as those of files that have changed since."""
        self._stream.close()
        write_text(self.path, "".join(_line(k, self._done[k]) for k in keys if k in self._done))
        self._stream = self.path.open("a", encoding="utf-8")


def _line(key: str, scores: CaseScores) -> str:
    return json.dumps({"key": key, **asdict(scores)}) + "\n"


def key_of(case: Case, settings: Settings) -> str:
    """Names a case's inputs (path and state of every file) and its settings."""
    parts: list[Any] = [__version__, case.name, _settings(settings)]
    for source in (case.reference, case.prediction):
        files = source.files() if source else ()
        parts += [[str(file), *(state_of(file) if file.is_file() else [])] for file in files]
        parts.append(source.problem if source else "missing")
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _settings(settings: Settings) -> Mapping[str, Any]:
    return asdict(settings) | {"answered": sorted(settings.answered)}
