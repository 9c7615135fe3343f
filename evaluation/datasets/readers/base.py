"""What a reader is: it knows one file layout and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from evaluation.errors import BenchError
from evaluation.files.records import faults_of
from evaluation.volumes.image_files import Array, Volume

if TYPE_CHECKING:
    from evaluation.datasets.card import DatasetCard


@dataclass(frozen=True)
class RawCase:
    """One scan as it lies in the raw folder.

    Args:
        case: id, unique in its dataset, usable as a folder name.
        image: the image file or files (a DICOM series has many).
        labels: label files by structure name; a single label map has the key `labels`. A file
            that should be there and is not is listed too: reading the case then names it.
        sequence: name of the MR sequence, frame or phase, where a patient has several.
        roots: folders that hold the dataset.
        places: where links among its files may lead beside the roots (`layout.linked_places`); a
            file that resolves to any other place is refused.
        problem: what is wrong with the names themselves (two files for one id); reading the
            case raises it, the other cases are not touched.
    """

    case: str
    image: tuple[Path, ...]
    labels: Mapping[str, tuple[Path, ...]]
    sequence: str | None = None
    roots: tuple[Path, ...] = ()
    places: tuple[Path, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class RawScan:
    """A case in memory: the image, and either a label map or one mask for each structure.

    Exactly one of `label_map` (integers) and `masks` (booleans by structure name) is given, on
    the grid of the image, axes (x, y, z). A structure that has no key in `masks` is not
    annotated in this case. `masks` may be lazy: each access reads one file.
    """

    image: Volume
    label_map: Array | None = None
    masks: Mapping[str, Array] = field(default_factory=dict)


class LazyMasks(Mapping[str, Array]):
    """Masks that are read on access and not kept: a whole-body scan has a hundred of them."""

    def __init__(self, names: Sequence[str], load: Callable[[str], Array]) -> None:
        self._names = tuple(names)
        self._load = load

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._load(name)

    def __contains__(self, name: object) -> bool:
        # Mapping's own test would read the file.
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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


@runtime_checkable
class FindsStrays(Protocol):
    """A reader that can also name the files which make no case."""

    def strays(self, folder: Path) -> list[tuple[str, Path]]:
        """What a file is (`label without an image`, `image without a label`), and where."""
        ...


class ReaderArguments(BaseModel):
    """What a card may say under `reader_args`; every reader has its own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)


A = TypeVar("A", bound=ReaderArguments)


def arguments_of(card: DatasetCard, kind: type[A]) -> A:
    """The card's `reader_args` as the typed record of its reader.

    Raises:
        BenchError: names the card and every faulty argument.
    """
    try:
        return kind.model_validate(card.reader_args)
    except ValidationError as error:
        raise BenchError(
            f"card `{card.id}`: wrong reader_args for reader `{card.reader}`",
            found=faults_of(kind, error),
            expected="arguments " + ", ".join(kind.model_fields),
            hint="correct `reader_args` in the card",
        ) from error
