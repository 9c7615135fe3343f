"""Files that are either whole or not there: write to a temporary name, then rename.

Readers of folders look at visible files only, by one rule (`is_hidden`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError

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


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary name keeps the suffixes (writers choose the format by them) and holds the
    process id and a random part, so two writers never share one and nobody can lay a link in its
    place beforehand. What is renamed is on the disk first. If the block fails, the temporary file
    is removed and `path` stays as it was. A leftover of a killed process starts with `.partial-`
    and is ignored by every reader of a folder.
    """
    if path.exists() and not path.is_file():
        raise BenchError(
            "not written: a folder or a device is there", file=path, hint="name another file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    # Its end keeps the suffixes; the whole of a long name would be too long for a name.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{token}-{path.name[-80:]}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Without this, a power cut could leave the new name with nothing behind it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
