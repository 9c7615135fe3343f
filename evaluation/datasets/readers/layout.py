"""From file patterns to cases: what the readers of paired files share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evaluation.datasets.readers.base import RawCase
from evaluation.errors import BenchError


def require_folder(folder: Path, what: str = "raw folder of the dataset") -> None:
    """Raise a BenchError if `folder` is not there."""
    if not folder.is_dir():
        raise BenchError(
            f"{what} not found",
            file=folder,
            hint="`satbench data status --raw-root DIR` says what to download and to which folder",
        )


def collect(cases: Iterable[RawCase], folder: Path, patterns: Iterable[str]) -> list[RawCase]:
    """Sort by id; an id that occurs twice becomes one case that says so when it is read.

    Raises:
        BenchError: there is no case at all.
    """
    unique: dict[str, RawCase] = {}
    for case in cases:
        first = unique.get(case.case)
        if first is None:
            unique[case.case] = case
            continue
        both = " and ".join(str(c.image[0]) for c in (first, case) if c.image)
        unique[case.case] = RawCase(
            case=first.case,
            image=first.image,
            labels=first.labels,
            sequence=first.sequence,
            roots=first.roots,
            problem=f"two scans have the id `{case.case}`: {both}",
        )
    if not unique:
        raise BenchError(
            "no case in this folder",
            file=folder,
            expected="files such as " + ", ".join(patterns),
            hint="check the folder under raw_root and that the archive is unpacked",
        )
    return [unique[name] for name in sorted(unique)]
