"""Which files of a watched folder are no longer what was written: lost, cut or altered."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.files.sums import FOLDER, sha256, state_of

KNOWN_FILE = "known.jsonl"
"""What was noted until the last look, one line for each file."""
_THREADS = 8


@dataclass(frozen=True)
class Damage:
    """A file, by its path below the watched folder, and what happened to it."""

    file: Path
    lost: bool

    def __str__(self) -> str:
        return f"{self.file} ({'lost' if self.lost else 'not what was written'})"


@dataclass
class _Noted:
    """Contents that a file may have, and the state in which one of them was seen."""

    time: int = 0
    sums: list[str] = field(default_factory=list)
    state: list[int] | None = None


def find_damage(root: Path) -> list[Damage]:
    """Compare all that was noted below a watched folder with what is there.

    A file whose size and times are as they were noted is not read. Nobody else may write into
    the folder meanwhile. What is told once is forgotten: whoever asks makes the files anew, or
    says so.

    Args:
        root: the folder; one that is not watched has no damage.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    ledgers = sorted(folder.glob("*.jsonl"))
    noted = _merged(ledgers)
    with ThreadPoolExecutor(_THREADS) as pool:
        looks = list(pool.map(lambda item: _look(root / item[0], item[1]), noted.items()))
    kept, damaged = {}, []
    for (name, known), found in zip(noted.items(), looks, strict=True):
        if found is None:
            damaged.append(Damage(Path(name), lost=not (root / name).is_file()))
        else:
            kept[name] = _Noted(known.time, [found[0]], found[1])
    _write_known(folder, kept)
    for ledger in ledgers:
        if ledger.name != KNOWN_FILE:
            ledger.unlink()
    return sorted(damaged, key=lambda damage: damage.file)


def _look(path: Path, known: _Noted) -> tuple[str, list[int]] | None:
    """Sum and state of a file as it should be; None of one that is lost or another."""
    try:
        state = state_of(path)
        if state == known.state:
            return known.sums[-1], state
        found = sha256(path)
    except OSError:
        return None
    return (found, state) if found in known.sums else None


def _merged(ledgers: list[Path]) -> dict[str, _Noted]:
    lines = sorted(
        (line for ledger in ledgers for line in _lines(ledger)), key=lambda line: line[0]
    )
    noted: dict[str, _Noted] = {}
    for time, name, digest, state in lines:
        if digest is None:
            # Of a folder, all below it; few are deleted, so looking through all is no cost.
            for known in [k for k in noted if k == name or k.startswith(f"{name}/")]:
                del noted[known]
            continue
        known_file = noted.setdefault(name, _Noted())
        known_file.time, known_file.state = time, state
        if digest:
            known_file.sums.append(digest)
            if state is not None:
                known_file.sums = [digest]
        elif known_file.sums:
            known_file.sums = known_file.sums[-1:]
    return {name: known for name, known in noted.items() if known.sums}


def _lines(ledger: Path) -> Iterator[tuple[int, str, str | None, list[int] | None]]:
    for text in ledger.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            time, name, digest, state = json.loads(text)
        except (ValueError, TypeError):
            continue  # cut off by a kill
        parts = Path(name).parts if isinstance(name, str) else ("..",)
        if isinstance(time, int) and ".." not in parts and not Path(name).is_absolute():
            yield time, name, digest, state


def _write_known(folder: Path, kept: dict[str, _Noted]) -> None:
    temporary = folder / f".partial-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            for name, known in kept.items():
                line = [known.time, name, known.sums[0], known.state]
                stream.write(json.dumps(line) + "\n")
        temporary.replace(folder / KNOWN_FILE)
    finally:
        temporary.unlink(missing_ok=True)
