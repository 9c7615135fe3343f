"""What an artefact was made from, as a digest: a step keeps what it would make again (DESIGN 3c).

Every artefact carries `made_from`: a digest of the identities of its inputs, of its settings, and
of the version of its meaning, a number that is raised when the code's answer changes. Times and
sizes of files are never an identity; they only say where it is worth looking again.

A job that was forced (`--forcerun`) leaves a mark beside its output: what is older than the mark
is made again whatever its identity says, what is younger survives a kill as usual.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from evaluation.files.sums import sha256, state_of
from evaluation.files.writing import is_hidden

CASE = 1
"""Version of a standardised case: raised when the same files and card give another case."""

PREDICTION = 1
"""Version of a kept answer: raised when answers are checked or written in another way."""

SCORES = 3
"""Version of score rows: raised when the same masks give other rows."""

CONFUSIONS = 1
"""Version of judged sides and neighbours: raised when the same masks are judged otherwise."""

ANNOTATIONS = 1
"""Version of a case's counted annotations: raised when the same labels are counted otherwise."""

STRESS = 1
"""Version of answers under stress: raised when prompts are made or judged otherwise."""

_MARK = ".again-"


def digest(*values: object) -> str:
    """A short hash of JSON values and records; the same in every process."""
    text = json.dumps([_plain(value) for value in values], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def array_digest(arrays: Iterable[NDArray[Any]], *values: object) -> str:
    """A short hash of arrays and of values beside them: shapes, types and contents.

    The order of the voxels in memory does not matter.
    """
    content = hashlib.sha256(digest(*values).encode())
    for array in arrays:
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        content.update(f"{native.shape}{native.dtype.str}".encode())
        # Volumes come in Fortran order: seen this way round, they need no copy.
        content.update(np.ascontiguousarray(native.T).data)
    return content.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read once by a process while its state stays."""
    return _hashed(str(path.resolve()), *state_of(path))


@lru_cache(maxsize=4096)
def _hashed(path: str, *_state: int) -> str:
    return sha256(Path(path))


def listing(folder: Path) -> dict[str, list[int]]:
    """Size and time of change (ns) of every file below a folder, by relative path.

    For planning: a folder that is copied with its times looks as before. Hidden files are left
    out, links are followed, nothing is opened; a folder that is not there is empty.
    """
    found: dict[str, list[int]] = {}
    seen: set[tuple[int, int]] = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        here = Path(name)
        state = here.stat()
        if (state.st_dev, state.st_ino) in seen:  # a link that leads round in circles
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = [below for below in folders if not is_hidden(below)]
        for file in files:
            path = here / file
            if not is_hidden(file) and path.exists():
                found[path.relative_to(folder).as_posix()] = state_of(path)[:2]
    return found


def named_states(*settings: object) -> dict[str, Any]:
    """Sizes and times of change of the files and folders that settings name by their paths."""
    paths = named_paths([_plain(value) for value in settings])
    return {str(path): listing(path) if path.is_dir() else state_of(path)[:2] for path in paths}


def named_paths(value: object) -> Iterator[Path]:
    """Texts in a JSON value that are paths of files, or of folders (with a separator in them)."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from named_paths(item)
    elif isinstance(value, str) and value:
        path = Path(value)
        try:
            if path.is_file() or (path.name != value and path.is_dir()):
                yield path
        except (OSError, ValueError):  # too long for a name, or with a character none can have
            return


class FileHashes:
    """SHA-256 of files, kept with their states in a JSON file, so that few are read again."""

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self._known = dict(known or {})
        self.used: dict[str, list[Any]] = {}

    def __call__(self, path: Path) -> str:
        """The hash of a file; it is read unless its state is that of the last time."""
        state, name = state_of(path), str(path)
        known = self._known.get(name)
        if not (isinstance(known, list) and known[:-1] == state):
            known = [*state, sha256(path)]
        self.used[name] = known
        return str(known[-1])


def _mark(output: Path) -> Path:
    return output.with_name(_MARK + output.name)


def ask_again(output: Path) -> None:
    """Mark a step's output: what it has kept so far is to be made again."""
    output.parent.mkdir(parents=True, exist_ok=True)
    _mark(output).write_text("", encoding="utf-8")


def is_outdated(kept: Path, output: Path) -> bool:
    """Whether a file that a step has kept is older than the mark at the step's output."""
    mark = _mark(output)
    return mark.is_file() and kept.stat().st_mtime_ns <= mark.stat().st_mtime_ns


def made_again(output: Path) -> None:
    """Take the mark away: the step is complete."""
    _mark(output).unlink(missing_ok=True)
