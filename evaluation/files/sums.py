"""Content sums of the files of a run, noted as they are written.

A folder that holds a folder `.sums` is watched: whatever `atomic_path` puts below it is noted
there with its SHA-256, in a file of each process's own, so that processes and machines never
write one file. What was noted is read by `evaluation.files.damage`.

A line is (time in ns, path below the watched folder, sum, state). The sum is noted before a file
gets its name, and again with the file's state after it: a kill in between leaves two sums, and
either content is whole. The sum `null` says that the file, or all below it, was deleted on
purpose.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

FOLDER = ".sums"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_of(path: Path) -> list[int]:
    """Size, and the times (ns) when a file was last written and last put in its place.

    The second one nobody can set: a file that was replaced by one of the same size and time shows.
    """
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def watch(folder: Path) -> None:
    """From now on, note what is written below a folder."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)


def watched(path: Path) -> Path | None:
    """The watched folder that a path lies in; None where none is, or where the name is hidden."""
    for folder in path.parents:
        if (folder / FOLDER).is_dir():
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            return None if hidden else folder
    return None


def note(root: Path, path: Path, content: Path) -> None:
    """Note the sum of `content`, which gets the name `path` next; on disk when this returns."""
    _append(root, [_line(root, path, sha256(content), None)], sync=True)


def note_state(root: Path, path: Path) -> None:
    """Note that what was noted of a file last is there, in the state that it has now."""
    _append(root, [_line(root, path, "", state_of(path))])


def remember(paths: Iterable[Path]) -> None:
    """Note files that somebody else has written, as they are now."""
    for path in paths:
        if (root := watched(path)) is not None:
            _append(root, [_line(root, path, sha256(path), state_of(path))])


def remember_folder(folder: Path) -> None:
    """Note all files below a folder, as they are now."""
    remember(path for path in sorted(folder.rglob("*")) if path.is_file())


def forget(path: Path) -> None:
    """Note that a file, or a folder with all below it, goes on purpose."""
    if (root := watched(path)) is not None:
        _append(root, [_line(root, path, None, None)])


def discard(path: Path) -> None:
    """Delete a file, or a folder with all below it, if it is there: on purpose."""
    forget(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _line(root: Path, path: Path, digest: str | None, state: list[int] | None) -> str:
    name = path.relative_to(root).as_posix()
    return json.dumps([time.time_ns(), name, digest, state]) + "\n"


def _append(root: Path, lines: list[str], *, sync: bool = False) -> None:
    path = root / FOLDER / _own_file(os.getpid())
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(lines)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@lru_cache(maxsize=1)
def _own_file(process: int) -> str:
    return f"{process}-{secrets.token_hex(4)}.jsonl"
