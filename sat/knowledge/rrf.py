"""UMLS's Rich Release Format: one row a line, fields ended by `|`, no header, no quoting.

A full release has 40 million rows in one file, so files are read row by row. The columns of every
file stand in `MRFILES.RRF`; where a subset lacks it, the columns of the releases hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path

from tqdm import tqdm

from evaluation.errors import BenchError
from evaluation.files.writing import visible

_COLUMNS = {
    "MRCONSO.RRF": "CUI LAT TS LUI STT SUI ISPREF AUI SAUI SCUI SDUI SAB TTY CODE STR SRL "
    "SUPPRESS CVF",
    "MRDEF.RRF": "CUI AUI ATUI SATUI SAB DEF SUPPRESS CVF",
    "MRREL.RRF": "CUI1 AUI1 STYPE1 REL CUI2 AUI2 STYPE2 RELA RUI SRUI SAB SL RG DIR SUPPRESS CVF",
    "MRSTY.RRF": "CUI TUI STN STY ATUI CVF",
    "MRDOC.RRF": "DOCKEY VALUE TYPE EXPL",
    "MRFILES.RRF": "FIL DES FMT CLS RWS BTS",
}


class RrfFolder:
    """A local `META` folder of UMLS.

    Args:
        folder: holds the RRF files.
        required: files that must be there.
        progress: show a bar for every file that is read.

    Raises:
        BenchError: no such folder, or required files are missing.
    """

    def __init__(self, folder: Path, required: Sequence[str], *, progress: bool = False) -> None:
        self.folder, self._progress = folder, progress
        missing = [name for name in required if not (folder / name).is_file()]
        if missing:
            there = [path.name for path in visible(folder, "*.RRF")] if folder.is_dir() else None
            raise BenchError(
                "this is no UMLS folder in RRF, or parts of it are missing",
                file=folder,
                found="no such folder"
                if there is None
                else ", ".join(there) or "no file that ends in .RRF",
                expected=", ".join(required),
                hint="give the folder META of an unpacked release or of a MetamorphoSys subset",
            )

    def has(self, name: str) -> bool:
        """Whether the folder has a file."""
        return (self.folder / name).is_file()

    @cached_property
    def _listed(self) -> dict[str, tuple[str, ...]]:
        """Columns as `MRFILES.RRF` lists them, of all files."""
        if not self.has("MRFILES.RRF"):
            return {}
        columns = tuple(_COLUMNS["MRFILES.RRF"].split())
        rows = self._rows("MRFILES.RRF", columns, ("FIL", "FMT"))
        return {Path(file).name: tuple(form.split(",")) for file, form in rows}

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a file, in their order."""
        return self._listed.get(name) or tuple(_COLUMNS[name].split())

    def rows(self, name: str, wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The wanted columns (at least two) of every row of a file.

        Raises:
            BenchError: a column is not listed, or a line is not UTF-8, has another number of
                fields, or does not end in `|` (names the line).
        """
        columns = self.columns(name)
        missing = [column for column in wanted if column not in columns]
        if missing:
            raise BenchError(
                f"MRFILES.RRF lists no column {', '.join(missing)} of {name}",
                file=self.folder / "MRFILES.RRF",
                found=",".join(columns),
            )
        return self._rows(name, columns, wanted)

    def _rows(
        self, name: str, columns: tuple[str, ...], wanted: Sequence[str]
    ) -> Iterator[tuple[str, ...]]:
        path = self.folder / name
        pick = itemgetter(*(columns.index(column) for column in wanted))
        expected = len(columns) + 1
        with (
            path.open("rb") as stream,
            tqdm(
                total=path.stat().st_size, desc=name, unit="B", unit_scale=True,
                disable=not self._progress,
                mininterval=0.5 if sys.stderr.isatty() else 20,
            ) as bar,
        ):  # fmt: skip
            for number, line in enumerate(stream, start=1):
                bar.update(len(line))
                try:
                    fields = line.rstrip(b"\r\n").decode("utf-8").split("|")
                except UnicodeDecodeError as error:
                    raise BenchError(
                        "a UMLS file is not UTF-8",
                        file=f"{path}, line {number}",
                        found=f"byte 0x{error.object[error.start]:02x}",
                    ) from error
                if len(fields) != expected or fields[-1]:
                    raise BenchError(
                        "a line of a UMLS file does not fit its columns",
                        file=f"{path}, line {number}",
                        found=f"{len(fields) - (not fields[-1])} fields: " + "|".join(fields)[:120],
                        expected=f"{len(columns)} fields, each ended by `|`: {'|'.join(columns)}|",
                    )
                yield pick(fields)
