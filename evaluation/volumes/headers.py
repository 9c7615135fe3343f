"""Files whose voxels lie in another file: which one a MetaImage or NRRD header names."""

from __future__ import annotations

import re
from pathlib import Path

from evaluation.errors import BenchError

_DATA_FILE = {
    ".mhd": re.compile(rb"^\s*ElementDataFile\s*=\s*(\S.*?)\s*$", re.MULTILINE),
    ".nrrd": re.compile(rb"^data ?file:\s*(\S.*?)\s*$", re.MULTILINE | re.IGNORECASE),
}
# Headers are text and short; in a NRRD file an empty line ends it, and voxels follow.
_LONGEST_HEADER = 1 << 16
_END_OF_NRRD_HEADER = re.compile(rb"\r?\n\r?\n")


def companions(path: Path) -> tuple[Path, ...]:
    """The file itself and, if its header names another file for the voxels, that one."""
    suffix = path.suffix.lower()
    if suffix not in _DATA_FILE or not path.is_file():
        return (path,)
    with path.open("rb") as stream:
        header = stream.read(_LONGEST_HEADER)
    if suffix == ".nrrd":
        header = _END_OF_NRRD_HEADER.split(header, maxsplit=1)[0]
    match = _DATA_FILE[suffix].search(header)
    if match is None or match[1].upper() == b"LOCAL":
        return (path,)
    return (path, path.parent / match[1].decode("utf-8", "surrogateescape"))


def refuse_foreign_voxels(path: Path) -> None:
    """Refuse a header that takes its voxels from outside its own folder.

    Such a file could show anything that this user may read, a reference among it.

    Raises:
        BenchError: it does.
    """
    folder = path.parent.resolve()
    for data in companions(path)[1:]:
        # The header's own words count: a link that stands beside it is the user's doing.
        if not (data.parent.resolve() / data.name).is_relative_to(folder):
            raise BenchError(
                "the header takes its voxels from outside its folder",
                file=path,
                found=data,
                expected=f"a file in {folder}",
                hint="put both files into one folder",
            )
