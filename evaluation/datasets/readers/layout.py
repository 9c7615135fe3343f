"""From file patterns to cases: what the readers of paired files share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from evaluation.datasets.readers.base import RawCase
from evaluation.datasets.readers.patterns import Finder
from evaluation.errors import BenchError


def require_folder(folder: Path, what: str = "raw folder of the dataset") -> None:
    """Raise a BenchError if `folder` is not there."""
    if not folder.is_dir():
        raise BenchError(
            f"{what} not found",
            file=folder,
            hint="`satbench data status --raw-root DIR` says what to download and to which folder",
        )


def linked_places(raw_root: Path, folder: Path) -> tuple[Path, ...]:
    """Where links among a dataset's files may lead: only where the user, not an archive, said so.

    - the raw root: files may be links into another folder under it;
    - folders elsewhere that a visible link directly under the raw root names, such as
      `raw_root/downloads -> /shared/downloads`;
    - the `.git` folder of a repository that the raw root (or a linked dataset's folder) lies in:
      git-annex and DataLad keep the files there.

    What an archive brings lies inside a dataset's folder, so no link in it can widen this.
    """
    root, own = raw_root.resolve(), folder.resolve()
    named = [path for path in sorted(raw_root.iterdir()) if not path.name.startswith(".")]
    named = [path for path in named if path.is_symlink() and path.is_dir()]
    above = [root, *root.parents, *(() if own.is_relative_to(root) else own.parents)]
    stores = [path / ".git" for path in above]
    stores = [path for path in stores if path.is_dir() and not path.is_symlink()]
    return tuple(path.resolve() for path in (root, *named, *stores))


def collect(
    cases: Iterable[RawCase], folder: Path, patterns: Sequence[str], finder: Finder
) -> list[RawCase]:
    """Sort by id; an id that occurs twice becomes one case that says so when it is read.

    Args:
        cases: as a reader found them.
        folder: where it looked.
        patterns: for what.
        finder: by what.

    Raises:
        BenchError: there is no case at all; it says what lies there instead.
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
            places=first.places,
            problem=f"two scans have the id `{case.case}`: {both}",
        )
    if not unique:
        raise BenchError(
            "no case in this folder",
            file=folder,
            found=finder.instead(folder, patterns[0]),
            expected="files such as "
            + ", ".join([*patterns, *(f"{{{n}}} = {e}" for n, e in finder.names.items())]),
            hint="check the folder under raw_root and that the archive is unpacked",
        )
    return [unique[name] for name in sorted(unique)]
