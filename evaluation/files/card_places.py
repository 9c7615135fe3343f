"""Where a user's own cards and studies lie: beside their work, and in the run that they made.

A run carries copies of those that it uses (`evaluation.runs.carrying`), so that it can be
copied elsewhere. What makes results (the workflow, `add`, a step by hand) takes the user's own
file and, where that is gone, the run's copy. What shows results (`aggregate`, `record`, `report`)
takes the run's copy first: a card that was edited since, or somebody else's card of the same
name, did not make them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, Literal, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote

from evaluation.files.writing import visible
from evaluation.paths import RunPaths

USER_FOLDER = Path("config")
STUDY_FILE = "study.yaml"
"""A study's own file among a run's copies."""
P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["models", "datasets"]


class CardFile(NamedTuple):
    """A file and what changes with its content: caches that are kept by both are never stale."""

    path: Path
    stamp: tuple[int, int, int]


class CardPlace(NamedTuple):
    """A file, and whether it is a run's copy: a copy's own files lie beside it, by quoted names."""

    path: Path
    carried: bool


@dataclass(frozen=True)
class _Place:
    run: Path | None = None
    shown: bool = False


_place = _Place()


def work_on(run: Path | None) -> None:
    """From here on, look into this run (or none) for cards that the user's own folder has not."""
    global _place
    if not _place.shown:
        _place = _Place(run)


@contextmanager
def cards_of(run: Path) -> Iterator[None]:
    """Within the block, the cards that a run carries are looked at before the user's own."""
    global _place
    before, _place = _place, _Place(run, shown=True)
    try:
        yield
    finally:
        _place = before


def shows_run(function: Callable[Concatenate[Path, P], R]) -> Callable[Concatenate[Path, P], R]:
    """Of a function whose first argument is a run folder: call it within `cards_of` that run."""

    @wraps(function)
    def within(run: Path, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with cards_of(run):
            return function(run, *args, **kwargs)

    return within


def run_at_work() -> Path | None:
    """The run whose cards are looked at besides the user's own."""
    return _place.run


def card_files(kind: Kind) -> tuple[CardFile, ...]:
    """Cards beside the built-in ones, by name; of two of a name the one that counts here."""
    found: dict[str, Path] = {}
    for folder in _folders(kind):
        for path in visible(folder, "*.y*ml"):
            found.setdefault(path.stem, path)
    return tuple(stamped(found[name]) for name in sorted(found))


def card_candidates(kind: Kind, name: str) -> list[Path]:
    """The files of one card, the one that counts here first."""
    paths = [folder / f"{name}{end}" for folder in _folders(kind) for end in (".yaml", ".yml")]
    return [path for path in paths if path.is_file()]


def split_place(dataset: str) -> Path:
    """Where a user's own split list of a dataset lies, or would lie: beside its card.

    A list that the user deleted is not taken from the run's copy instead.
    """
    name = f"{dataset}.csv"
    own = USER_FOLDER / "datasets"
    for folder in _folders("datasets"):
        listed = (folder / name).is_file() and (folder == own or _place.shown)
        if listed or (folder / f"{dataset}.yaml").is_file():
            return folder / name
    return own / name


def study_place(name: str) -> CardPlace:
    """The file of a user's study, as the configuration names it, and where its own files lie."""
    own = Path(name)
    if _place.run is not None:
        folder = carried_study(RunPaths(_place.run), name)
        if _counts(folder / STUDY_FILE, own):
            return CardPlace(folder / STUDY_FILE, carried=True)
    return CardPlace(own, carried=False)


def carried_study(paths: RunPaths, name: str) -> Path:
    """Folder of a run's copies of a user's study and of the files that it names."""
    return paths.cards / "studies" / quote(name, safe="")


def _counts(carried: Path, own: Path) -> bool:
    return carried.is_file() and (_place.shown or not own.is_file())


def stamped(path: Path) -> CardFile:
    """A file with its stamp; a link that leads nowhere is stamped itself."""
    try:
        status = path.stat()
    except OSError:
        status = path.lstat()
    return CardFile(path, (status.st_ino, status.st_mtime_ns, status.st_size))


def _folders(kind: Kind) -> list[Path]:
    own = USER_FOLDER / kind
    if _place.run is None:
        return [own]
    carried = RunPaths(_place.run).cards / kind
    return [carried, own] if _place.shown else [own, carried]
