"""The two records that every source of knowledge yields, and strict reading of their tables."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from evaluation.errors import BenchError, did_you_mean

_MOST_FAULTS = 5


class Pair(NamedTuple):
    """A concept and one definition of it; a concept may have several pairs."""

    concept_id: str
    name: str
    definition: str


class Triplet(NamedTuple):
    """`head relation tail`, as in "left kidney", "part of", "abdomen"."""

    head: str
    relation: str
    tail: str


@dataclass(frozen=True)
class Knowledge:
    """What the text encoder is to learn.

    Attributes:
        pairs: concepts with definitions.
        triplets: relations between concepts.
        sources: one line for each source, for the record of a training.
    """

    pairs: tuple[Pair, ...] = ()
    triplets: tuple[Triplet, ...] = ()
    sources: tuple[str, ...] = ()

    def __add__(self, other: Knowledge) -> Knowledge:
        """Both together, this one first."""
        return Knowledge(
            self.pairs + other.pairs, self.triplets + other.triplets, self.sources + other.sources
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all texts in their order."""
        found = hashlib.sha256()
        for row in (*self.pairs, *self.triplets):
            found.update("\x1f".join(row).encode() + b"\x1e")
        return found.hexdigest()


def plain(text: str) -> str:
    """Two texts mean the same if they agree in this: case and white space do not matter."""
    return " ".join(text.casefold().split())


def read_rows(
    path: Path, required: Sequence[str], optional: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file (UTF-8, one header line) with their line numbers.

    Args:
        path: the file.
        required: columns that must be there, and whose cells are not empty.
        optional: the only other columns that may be there; None: any.

    Raises:
        BenchError: the file is missing, empty or not UTF-8, a column is missing or unknown, or
            rows have empty cells or another number of them than the header (all such lines are
            counted, the first are named).
    """
    if not path.is_file():
        raise BenchError("no such table", file=path, expected=f"a CSV file with {list(required)}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BenchError(
            "the table is not UTF-8",
            file=path,
            found=f"byte 0x{error.object[error.start]:02x} in line {line}",
            hint="save it as UTF-8",
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, required, optional)
        faults, rows = [], []
        for cells in reader:
            if not cells:
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
            if len(cells) != len(header):
                faults.append(f"line {reader.line_num}: {len(cells)} cells, not {len(header)}")
            elif empty := [name for name in required if not row[name]]:
                faults.append(f"line {reader.line_num}: no {', '.join(empty)}")
            else:
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise BenchError(
            "the table is no CSV", file=path, found=f"line {reader.line_num}: {error}"
        ) from error
    refuse_faults(path, faults)
    if not rows:
        raise BenchError("the table has no rows", file=path, expected=f"rows of {list(required)}")
    yield from rows


def refuse_faults(path: Path, faults: Sequence[str]) -> None:
    """Raise one error for all faulty lines of a table, if there are any."""
    if faults:
        more = f"\n            and {len(faults) - _MOST_FAULTS} more"
        raise BenchError(
            f"{len(faults)} faulty lines in the table",
            file=path,
            found="\n            ".join(faults[:_MOST_FAULTS])
            + (more if len(faults) > _MOST_FAULTS else ""),
            hint="a text with a comma or a line break stands in double quotes",
        )


def _check_header(
    path: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str] | None
) -> None:
    missing = [name for name in required if name not in header]
    known = (*required, *(optional or ()))
    unknown = [] if optional is None else [name for name in header if name not in known]
    if missing or unknown or len(set(header)) != len(header):
        raise BenchError(
            "the columns of the table do not fit",
            file=path,
            found=", ".join(header) or "an empty file",
            expected=", ".join(known),
            hint=did_you_mean(unknown[0], known) if unknown else None,
        )
