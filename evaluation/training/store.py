"""The prepared store of a grid: what is in it, and how it is read.

It belongs to no model: networks with the same grid read one. `prepared/<grid>/<dataset>/<case>/`
of a run holds `image.npy` (float16, normalised), `layers.npy`
(label layers), `points.npy` (voxels of every class, to centre crops on) and, last,
`record.json`. The arrays are uncompressed, so that a memory map reads the crop and nothing else.
`index.json` is written when all cases are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from evaluation.cases import FolderName
from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.files.identity import digest
from evaluation.files.reading import text_of
from evaluation.files.records import Record
from evaluation.paths import RunPaths
from evaluation.training.settings import Grid, Triple
from evaluation.volumes.segmentation import ClassPlace

INDEX_FILE = "index.json"
RECORD_FILE = "record.json"
FORMAT = 1
"""Raised when the same cases give another store."""


class ClassPoints(Record):
    """Where a class's sampled voxels lie in `points.npy`, and how many voxels it has in all."""

    start: int
    count: int
    voxels: int


class PreparedRecord(Record):
    """`record.json` of a prepared case; `source` says what it was made from."""

    source: str
    dataset: FolderName
    case: FolderName
    modality: Modality
    sequence: str | None = None
    shape: Triple
    classes: dict[str, ClassPlace]
    not_annotated: tuple[str, ...]
    points: dict[str, ClassPoints]
    label_size: Triple


class PreparedEntry(Record):
    """One dataset in the store: its classes in scope, generated ones included.

    `validation` are cases of the split's own validation side, which are never trained on.
    `patients` names each training case's patient; a case that is not in it is a patient of its own.
    `sources` has for each case what it was made from: the index is another one, and a training
    starts anew, when the content of a case changes. `sequences` are
    those that its cases have.
    """

    dataset: FolderName
    modality: Modality
    classes: tuple[str, ...]
    specialists: dict[str, tuple[str, ...]]
    cases: tuple[FolderName, ...]
    validation: tuple[FolderName, ...] = Field(default=(), exclude_if=lambda cases: not cases)
    patients: dict[str, str] = Field(default={})
    sources: dict[str, str] = Field(default={})
    sequences: tuple[str, ...] = ()


class PreparedIndex(Record):
    """`index.json`: what the store holds."""

    format: int
    grid: Grid
    entries: tuple[PreparedEntry, ...]

    def of(self, datasets: Sequence[str] | None) -> PreparedIndex:
        """The same with some entries only; None: all.

        Raises:
            BenchError: one of them is not in the store.
        """
        if datasets is None:
            return self
        known = {entry.dataset: entry for entry in self.entries}
        for dataset in datasets:
            if dataset not in known:
                raise BenchError(
                    f"no training case of `{dataset}` is prepared", expected=", ".join(known)
                )
        return self.model_copy(update={"entries": tuple(known[d] for d in datasets)})


def read_record(folder: Path) -> PreparedRecord | None:
    """The record of a prepared case, or None if there is no whole one."""
    path = folder / RECORD_FILE
    try:
        return PreparedRecord.model_validate_json(text_of(path))
    except (BenchError, ValidationError):
        return None


def grid_digest(grid: Grid) -> str:
    """What names the store of a grid: the grid, and the version of what is stored."""
    return digest(FORMAT, grid)


def store_folder(paths: RunPaths, grid: Grid) -> Path:
    """Where a run keeps the store of a grid, prepared or not."""
    return paths.prepared(grid_digest(grid))


def read_index(store: Path, grid: Grid | None = None) -> PreparedIndex:
    """The index of a prepared store.

    Args:
        store: the folder.
        grid: what the store has to lie on.

    Raises:
        BenchError: the store is not there, not complete, or lies on another grid.
    """
    path = store / INDEX_FILE
    if not path.is_file():
        raise BenchError(
            "no prepared training data",
            file=path,
            hint="prepare the run's training cases with this preset first",
        )
    try:
        index = PreparedIndex.model_validate_json(text_of(path))
    except ValidationError as error:
        raise BenchError(
            "the list of the prepared training data is damaged",
            file=path,
            hint="delete it and give the command again that trains; whole cases are kept",
        ) from error
    if grid is not None and index.grid != grid:
        raise BenchError(
            "the training data was prepared for another grid than the preset's",
            file=path,
            found=index.grid,
            expected=grid,
            hint="prepare the run's training cases with this preset first",
        )
    return index


def read_known(store: Path, dataset: str, case: str) -> PreparedRecord:
    """The record of a case that must be there.

    Raises:
        BenchError: it is not.
    """
    folder = store / dataset / case
    record = read_record(folder)
    if record is None:
        raise BenchError(
            "a prepared case is missing", file=folder, hint="prepare the training cases again"
        )
    return record
