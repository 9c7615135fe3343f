"""The parts of a report: what each wrote, what an earlier report left, and what is stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.errors import BenchError
from evaluation.files.reading import json_of
from evaluation.files.sums import discard
from reports.source.run import RunSource

PARTS = ("tables", "figures", "gallery", "leaderboard", "export")
RECORD = "report.json"


@dataclass
class Part:
    """What one part wrote: items with title and files (relative), and what it could not make."""

    items: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, title: str, files: Sequence[Path], root: Path, **more: Any) -> None:
        """Note an item."""
        names = [f.relative_to(root).as_posix() for f in files]
        self.items.append({"title": title, "files": names, **more})


def earlier_parts(out: Path, source: RunSource) -> dict[str, Part]:
    """Parts of an earlier report in this folder.

    Raises:
        BenchError: the folder holds the report of another run.
    """
    path = out / RECORD
    if not path.is_file():
        return {}
    try:
        record = json_of(path)
        parts = {n: Part(p["items"], p["missing"]) for n, p in record["parts"].items()}
        made = record["run"], record["data_kind"]
    except (BenchError, KeyError, TypeError, AttributeError):
        return {}  # damaged: all is rendered anew
    if made != (source.config.name, source.config.data_kind):
        raise BenchError(
            "this folder holds the report of another run",
            file=out,
            found=f"{made[0]} ({made[1]})",
            expected=f"{source.config.name} ({source.config.data_kind})",
            hint="choose another folder with --out",
        )
    return parts


def remove_stale(out: Path, before: dict[str, Part], now: dict[str, Part]) -> None:
    """Remove files of an earlier report that this one did not make again, and nothing else."""

    def files(parts: dict[str, Part]) -> set[str]:
        return {f for part in parts.values() for item in part.items for f in item["files"]}

    for name in files(before) - files(now):
        path = (out / name).resolve()
        if path.is_relative_to(out.resolve()):
            discard(path)
