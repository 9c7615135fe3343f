"""Unpack gzip files quickly, with isal, into memory that can be used again.

Filling fresh memory of a whole volume costs more than unpacking into it, so a caller that reads
many volumes keeps an `Arena`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Small pieces keep what is unpacked at a time within the processor's cache.
_PIECE = 1 << 14
_LARGEST_RATIO = 1032  # of deflate


class Arena:
    """A block of memory for one volume at a time; taking it again overwrites what was there."""

    def __init__(self) -> None:
        self._block: Bytes = np.empty(0, dtype=np.uint8)

    def take(self, size: int, keep: int = 0) -> Bytes:
        """At least `size` bytes of which the first `keep` are as they were."""
        if self._block.size < size:
            block: Bytes = np.empty(size, dtype=np.uint8)
            block[:keep] = self._block[:keep]
            self._block = block
        return self._block


def beginning(path: Path, size: int = 4096) -> bytes:
    """The first unpacked bytes of a gzip file, however small its members are (fewer at its end).

    Args:
        path: the file.
        size: how many bytes are wanted.

    Raises:
        isal.isal_zlib.IsalError: the data are corrupt.
    """
    start, member = b"", isal_zlib.decompressobj(wbits=31)
    with path.open("rb") as stream:
        while len(start) < size and (piece := stream.read(_PIECE)):
            while piece and len(start) < size:
                if member.eof:
                    piece = piece.lstrip(b"\0")
                    member = isal_zlib.decompressobj(wbits=31)
                start += member.decompress(piece, size) if piece else b""
                piece = member.unused_data
    return start[:size]


def inflate(path: Path, arena: Arena | None = None, most: int | None = None) -> Bytes:
    """The unpacked bytes of a gzip file (one or several members), writable.

    Args:
        path: the file.
        arena: memory to unpack into; without it, new memory is taken.
        most: bytes that the content may have; a small file can unpack to any size.

    Raises:
        EOFError: the file is truncated.
        isal.isal_zlib.IsalError: the data are corrupt, or a checksum is wrong.
        OverflowError: there are more than `most` bytes.
    """
    arena = arena or Arena()
    packed = path.stat().st_size
    with path.open("rb") as stream:
        # The last four bytes tell the size of the last member, which is nearly always the only
        # one; what a truncated file has there is no reason to ask for more than can be in it.
        stream.seek(max(0, packed - 4))
        told = int.from_bytes(stream.read(4), "little")
        stream.seek(0)
        likely = min(told, packed * _LARGEST_RATIO, told if most is None else most)
        target = arena.take(likely + 1).data
        filled = 0
        member = isal_zlib.decompressobj(wbits=31)
        while piece := stream.read(_PIECE):
            while piece:
                if member.eof:
                    piece = piece.lstrip(b"\0")
                    if not piece:
                        break
                    member = isal_zlib.decompressobj(wbits=31)
                block = member.decompress(piece)
                end = filled + len(block)
                if most is not None and end > most:
                    raise OverflowError(f"more than the {most} bytes that its header allows")
                if end > len(target):
                    target = arena.take(max(end, 2 * len(target)), keep=filled).data
                target[filled:end] = block
                filled = end
                piece = member.unused_data
        if not member.eof:
            raise EOFError("the compressed file ended before the end-of-stream marker was reached")
    return arena.take(0)[:filled]
