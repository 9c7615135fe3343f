"""Rows of cases that are done, kept beside the output so that a run can stop at any moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from evaluation.errors import BenchError
from evaluation.files.lines import open_lines, sealed, whole_lines
from evaluation.files.writing import write_text
from evaluation.scoring.rows import Row


@dataclass(frozen=True)
class CaseRows:
    """Score rows of one case, its single structures, and what no class names in its masks.

    `lasting` are rows of what was compared. What could not be read may be readable next time,
    though no file has changed: a permission, a disk that was away, more memory.
    """

    rows: list[Row]
    unnamed: list[str] = field(default_factory=list)
    instances: list[Row] = field(default_factory=list)
    lasting: bool = True


class Journal:
    """One line of JSON for each finished case: what it is made from, its rows, what was noticed.

    A line that was cut off by a kill or altered is ignored, and its case is measured again. While
    the journal is open, no other process may write the same output.

    Args:
        output: file of score rows.
        path: of the journal, beside it.
    """

    def __init__(self, output: Path, path: Path) -> None:
        self.path = path
        self.output = output
        self._lock = FileLock(output.with_name(f".{output.name}.lock"))
        self._done: dict[str, CaseRows] = {}

    def __enter__(self) -> Journal:
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            # Before the lock, which would report some unwritable places as taken.
            self._stream = open_lines(self.path)
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

    def recall(self, wanted: Collection[str], others: Iterable[Path] = ()) -> None:
        """Read what is done, from this journal and from others whose cases may be ours now.

        Args:
            wanted: what our cases are made from.
            others: journals of other outputs.
        """
        for path in (self.path, *others):
            for entry in whole_lines(path):
                if entry["made_from"] in wanted:
                    rows = CaseRows(entry["rows"], entry["unnamed"], entry["instances"])
                    self._done[entry["made_from"]] = rows

    def rows_of(self, key: str) -> CaseRows | None:
        """What is known of a finished case, by what it is made from."""
        return self._done.get(key)

    def add(self, key: str, rows: CaseRows) -> None:
        """Keep a finished case; it is on disk when this returns, if it is lasting."""
        self._done[key] = rows
        if not rows.lasting:
            return
        try:
            self._stream.write(_line(key, rows))
            self._stream.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget all other cases, such as those of files that have changed since."""
        self._stream.close()
        known = [(key, self._done[key]) for key in keys if key in self._done]
        lines = "".join(_line(key, rows) for key, rows in known if rows.lasting)
        write_text(self.path, lines, noted=False)
        self._stream = open_lines(self.path)


def _line(key: str, rows: CaseRows) -> str:
    kept = {"rows": rows.rows, "unnamed": rows.unnamed, "instances": rows.instances}
    return sealed({"made_from": key, **kept})
