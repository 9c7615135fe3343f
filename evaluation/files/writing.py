"""Files that are either whole or not there: write to a temporary name, then rename.

Readers of folders look at visible files only, by one rule (`is_hidden`).
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError
from evaluation.files.sums import note, note_state, watched
from evaluation.files.sums import sha256 as sha256

TEMPORARY_PREFIX = ".partial-"
# What file managers, archives and network drives leave in folders besides hidden files.
_CLUTTER = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "lost+found"})


def is_hidden(name: str) -> bool:
    """Whether no reader looks at a file or folder of that name.

    Hidden names (`.partial-*` of a killed writer, `._*`, `.DS_Store`, an editor's `.card.yaml.swp`
    and `.#card.yaml`), backups (`card.yaml~`, `~card.yaml`, `#card.yaml#`), and system folders.
    """
    backup = name.startswith("~") or name.endswith("~") or (name[0] == name[-1] == "#")
    return name.startswith(".") or backup or name.lower() in _CLUTTER


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """Files and folders below `folder` that fit a glob pattern, sorted, without hidden ones.

    What lies in a hidden folder is hidden too. A folder that is missing holds nothing.
    """
    found = folder.glob(pattern)
    return sorted(p for p in found if not any(map(is_hidden, p.relative_to(folder).parts)))


def require_place(path: Path) -> None:
    """Refuse to write where something else than a file is: to open a pipe would wait for ever.

    Raises:
        BenchError: a folder or a device is there.
    """
    if path.exists() and not path.is_file():
        raise BenchError(
            "not written: a folder or a device is there", file=path,
            hint="name another file, or take away what is there",
        )  # fmt: skip


@contextmanager
def atomic_path(path: Path, *, noted: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary name keeps the suffixes (writers choose the format by them) and holds the
    process id and a random part, so two writers never share one and nobody can lay a link in its
    place beforehand. What is renamed is on the disk first. If the block fails, the temporary file
    is removed and `path` stays as it was. A leftover of a killed process starts with `.partial-`
    and is ignored by every reader of a folder.

    Args:
        path: of the file.
        noted: whether its content sum is noted in a watched folder (`evaluation.files.sums`); not
            of files that are also written in other ways.

    Raises:
        OSError: it cannot be written; of a full disk always with its number, whatever the block
            raised.
    """
    require_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    # Its end keeps the suffixes; the whole of a long name would be too long for a name.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{token}-{path.name[-80:]}")
    root = watched(path) if noted else None
    try:
        yield temporary
        _sync(temporary)
        if root is not None:
            note(root, path, temporary)
        temporary.replace(path)
        if root is not None:
            note_state(root, path)
    except Exception as error:
        if (number := full_disk(error, temporary)) is not None:
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; put it in the place of `path` if the block succeeds.

    Whatever was at `path` is there until then, and is gone afterwards: the caller says that it may
    be. A link to a folder stays one.

    Args:
        path: of the folder.

    Raises:
        BenchError: something else than a folder is there.
    """
    place = path.resolve()
    if place.exists() and not place.is_dir():
        raise BenchError("a file or a device is there", file=path, hint="name a folder")
    place.parent.mkdir(parents=True, exist_ok=True)
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    new, old = (place.with_name(f"{TEMPORARY_PREFIX}{token}-{age}") for age in ("new", "old"))
    try:
        new.mkdir()
        yield new
        if place.exists():
            place.rename(old)
        new.rename(place)
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the errors that say: there is no room for more."""
_PROBE = b"\0" * (1 << 16)


def full_disk(error: Exception, file: Path) -> int | None:
    """The number of the error if a file could not be written for want of room, else None.

    torch, numpy and ITK say in other words, or not at all, why they could not write: then it is
    tried whether a little more could be added to the file.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in FULL else None
    if not isinstance(error, OSError | RuntimeError):
        return None
    try:
        with file.open("ab") as stream:
            stream.write(_PROBE)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as probed:
        return probed.errno if probed.errno in FULL else None
    return None


def _sync(path: Path) -> None:
    """Without this, a power cut could leave the new name with nothing behind it."""
    # Open for writing: Windows syncs no other.
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def write_text(path: Path, text: str, *, noted: bool = True) -> None:
    """Write `text` (UTF-8) atomically, with the same bytes on every system."""
    with atomic_path(path, noted=noted) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_if_other(path: Path, text: str) -> None:
    """Write `text`, unless the file holds just this: its time, which others watch, stays."""
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
