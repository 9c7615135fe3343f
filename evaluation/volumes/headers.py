"""What the text header of a MetaImage or NRRD file says: files that hold its voxels, and its unit.

Voxels may lie in one other file, in a listed file for each slice, or in numbered ones. A header is
read as ITK reads it: MetaImage's keys go on until `ElementDataFile`, with `=` or `:` behind the
key, NRRD's until an empty line; comments may be of any length.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from pathlib import Path
from typing import BinaryIO

from evaluation.errors import BenchError

# Far above any header; a file that has no end of its header is none.
_LONGEST_HEADER = 1 << 24
_META = (".mhd", ".mha")
_NRRD = (".nrrd", ".nhdr")


@dataclass(frozen=True)
class TextHeader:
    """Data files as the header names them (none: in the file itself), slices, and unit.

    `own` are keys that NRRD leaves to the program that wrote the file (`key:=value`). `packed`:
    so many bytes are the zlib of a MetaImage's voxels, from the byte `start` on where they lie in
    the file itself (None: not packed).
    """

    data: tuple[str, ...] = ()
    listed: bool = False
    size: tuple[int, ...] = ()
    unit: str = ""
    own: Mapping[str, str] = field(default_factory=dict)
    packed: int | None = None
    start: int = 0


def read_text_header(path: Path) -> TextHeader | None:
    """The text header of a file; None for formats that have none.

    Raises:
        BenchError: the header has no end.
    """
    suffix = path.suffix.lower()
    if suffix not in _META + _NRRD or not path.is_file():
        return None
    with path.open("rb") as stream:
        fields, rest, own = _fields(stream, path, nrrd=suffix in _NRRD)
        start = stream.tell()
    if suffix in _META:
        named = fields.get("elementdatafile", "LOCAL")
        return TextHeader(
            *_data_files(named, rest), _numbers(fields.get("dimsize", "")),
            fields.get("distanceunits", ""), {},
            _packed(fields), start,
        )  # fmt: skip
    named = fields.get("data file", fields.get("datafile", "LOCAL"))
    size, unit = _numbers(fields.get("sizes", "")), fields.get("space units", "")
    return TextHeader(*_data_files(named, rest), size, unit or fields.get("units", ""), own)


def _fields(
    stream: BinaryIO, path: Path, nrrd: bool
) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """Keys in lower case with their values, lines that follow a list of files, and own keys."""
    fields: dict[str, str] = {}
    own: dict[str, str] = {}
    for line in _lines(stream, path):
        text = line.strip()
        if nrrd and not text:
            break
        if nrrd and (text.startswith("#") or ":=" in text):
            key, sign, value = text.partition(":=")
            if sign and not text.startswith("#"):
                own[key] = value
            continue
        key, sign, value = re.match(r"([^=:]*)([=:]?)(.*)", text).groups()  # type: ignore[union-attr]
        name = " ".join(key.lower().split())
        if sign:
            fields[name] = value.strip()
        last = name in (("data file", "datafile") if nrrd else ("elementdatafile",))
        if last and value.strip().upper().startswith("LIST"):
            return fields, [x.strip() for x in _lines(stream, path) if x.strip()], own
        if last and not nrrd:
            break
    return fields, [], own


def _lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    read = 0
    while line := stream.readline(_LONGEST_HEADER):
        read += len(line)
        if read > _LONGEST_HEADER:
            raise BenchError(
                "the header of this file has no end", file=path,
                expected=f"less than {_LONGEST_HEADER >> 20} MiB of text before the voxels",
            )  # fmt: skip
        yield line.decode("utf-8", "surrogateescape")


def _data_files(named: str, rest: list[str]) -> tuple[tuple[str, ...], bool]:
    """Names of the data files, and whether there must be one for each slice."""
    if named.upper() in ("LOCAL", ""):
        return (), False
    if named.upper().startswith("LIST"):
        return tuple(rest), True
    words = named.rsplit(maxsplit=3)
    if "%" in named and len(words) == 4:
        try:
            first, last, step = (int(word) for word in words[1:])
            numbers = range(first, last + (1 if step > 0 else -1), step)
            return tuple(words[0] % number for number in numbers), True
        except (ValueError, TypeError):
            pass  # a strange name, but a name
    return (named,), False


def _packed(fields: Mapping[str, str]) -> int | None:
    if not fields.get("compresseddata", "").lower().startswith(("t", "1")):
        return None
    return sum(_numbers(fields.get("compresseddatasize", "")))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split() if word.isdigit())


def companions(path: Path) -> tuple[Path, ...]:
    """The file itself and those that its header names for the voxels, if it can be read."""
    try:
        header = read_text_header(path)
    except (BenchError, OSError):
        return (path,)  # said when the file is read
    return (path, *(path.parent / name for name in header.data)) if header else (path,)


def refuse_foreign_voxels(path: Path, header: TextHeader | None) -> None:
    """Refuse a header that takes its voxels from outside its own folder, or not all of them.

    Such a file could show anything that this user may read, a reference among it.

    Raises:
        BenchError: it does; or it lists fewer files than it has slices.
    """
    if header is None:
        return
    folder = path.parent.resolve()
    for name in header.data:
        data = path.parent / name
        # The header's own words count: a link that stands beside it is the user's doing.
        if not (data.parent.resolve() / data.name).is_relative_to(folder):
            raise BenchError(
                "the header takes its voxels from outside its folder",
                file=path,
                found=data,
                expected=f"a file in {folder}",
                hint="put both files into one folder",
            )
    slices = prod(islice(header.size, 2, None))
    if header.listed and len(header.data) not in (1, slices):
        raise BenchError(
            "the header does not list as many files as it has slices",
            file=path,
            found=f"{len(header.data)} files",
            expected=f"{slices} slices (DimSize {' '.join(map(str, header.size))})",
        )


def refuse_broken_zlib(path: Path, header: TextHeader | None, size: int) -> None:
    """Refuse packed voxels of a MetaImage that do not unpack to so many bytes.

    ITK says on the console that they do not, and hands over whatever lay in the memory.

    Raises:
        BenchError: they are cut, corrupt, or more or fewer.
    """
    if header is None or header.packed is None:
        return
    file = path.parent / header.data[0] if header.data else path
    unpacker, found, left = zlib.decompressobj(), 0, header.packed
    try:
        with file.open("rb") as stream:
            stream.seek(0 if header.data else header.start)
            while found <= size and left + len(unpacker.unconsumed_tail):
                piece = unpacker.unconsumed_tail
                if not piece:
                    piece = stream.read(min(left, 1 << 16))
                    left = left - len(piece) if piece else 0
                found += len(unpacker.decompress(piece, 1 << 22))
        whole = unpacker.eof and found == size
        problem = f"{found} bytes" + ("" if unpacker.eof else ", and no end")
    except (zlib.error, OSError) as error:
        whole, problem = False, str(error)
    if not whole:
        raise BenchError(
            "volume cannot be read; it is truncated or corrupt", file=file, found=problem,
            expected=f"{size} bytes of voxels", hint="download or write the file again",
        )  # fmt: skip
