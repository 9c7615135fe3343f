"""SAT-Nano's prepared store: what is in it, and how it is read.

`runs/<model>/prepared/<dataset>/<case>/` holds `image.npy` (float16, normalised), `layers.npy`
(label layers), `points.npy` (voxels of every class, to centre crops on) and, last,
`record.json`. The arrays are uncompressed, so that a memory map reads the crop and nothing else.
`index.json` is written when all cases are there.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.files.records import Record
from evaluation.volumes.segmentation import ClassPlace
from sat.config import Grid, Triple

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
    dataset: str
    case: str
    modality: Modality
    shape: Triple
    classes: dict[str, ClassPlace]
    not_annotated: tuple[str, ...]
    points: dict[str, ClassPoints]
    label_size: Triple


class PreparedEntry(Record):
    """One dataset in the store: its classes in scope, generated ones included.

    `patients` names each case's patient; a case that is not in it is a patient of its own.
    `sources` has for each case what it was made from: the index is another one, and a training
    starts anew, when the content of a case changes.
    """

    dataset: str
    modality: Modality
    classes: tuple[str, ...]
    specialists: dict[str, tuple[str, ...]]
    cases: tuple[str, ...]
    patients: dict[str, str] = Field(default={})
    sources: dict[str, str] = Field(default={})


class PreparedIndex(Record):
    """`index.json`: what the store holds."""

    format: int
    grid: Grid
    entries: tuple[PreparedEntry, ...]


def read_record(folder: Path) -> PreparedRecord | None:
    """The record of a prepared case, or None if there is no whole one."""
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    return PreparedRecord.model_validate_json(path.read_text(encoding="utf-8"))


def read_index(store: Path) -> PreparedIndex:
    """The index of a prepared store.

    Raises:
        BenchError: the store is not there or not complete.
    """
    path = store / INDEX_FILE
    if not path.is_file():
        raise BenchError("no prepared training data", file=path, hint="run `satbench train` first")
    return PreparedIndex.model_validate_json(path.read_text(encoding="utf-8"))
