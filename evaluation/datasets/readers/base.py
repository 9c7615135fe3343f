"""What a reader is: it knows one file layout and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evaluation.io import Array, Volume


@dataclass(frozen=True)
class RawCase:
    """One scan as it lies in the raw folder.

    Args:
        case: id, unique in its dataset, usable as a folder name.
        image: the image file or files (a DICOM series has many).
        labels: label files by structure name; a single label map has the key `labels`.
        sequence: name of the MR sequence, frame or phase, where a patient has several.
    """

    case: str
    image: tuple[Path, ...]
    labels: Mapping[str, tuple[Path, ...]]
    sequence: str | None = None


@dataclass(frozen=True)
class RawScan:
    """A case in memory: the image, and either a label map or one mask for each structure.

    Exactly one of `label_map` (integers) and `masks` (booleans by structure name) is given, on
    the grid of the image, axes (x, y, z).
    """

    image: Volume
    label_map: Array | None = None
    masks: Mapping[str, Array] = field(default_factory=dict)


class Reader(Protocol):
    """Discover the cases under a folder, and read one of them."""

    def discover(self, folder: Path) -> list[RawCase]:
        """Cases under `folder`, sorted by id. Reads names only, no volume.

        Raises:
            BenchError: the folder has not this layout.
        """
        ...

    def read(self, raw: RawCase) -> RawScan:
        """Read one case.

        Raises:
            BenchError: a file is missing or corrupt, or image and mask lie on different grids.
        """
        ...
