"""What a case consists of on each side, and how files and cases are named."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom.uid import RTStructureSetStorage

from evaluation.errors import BenchError, printable
from evaluation.scoring.contours import slices_beside
from evaluation.scoring.labels import Label, Labels
from evaluation.volumes.dicom_segments import object_kind
from evaluation.volumes.headers import companions
from evaluation.volumes.image_files import has_volume_suffix, stem_of
from evaluation.volumes.segments import has_segments

Layout = Literal["label maps", "masks", "segments"]


@dataclass(frozen=True)
class Source:
    """One segmentation: a label map, a folder of one mask file per class, or 3D Slicer's segments.

    `problem` says why it cannot be used, for example because two files have the case's name.
    `images` are files beside masks that are the scan itself. `named` are mask files by class where
    names do not say it; several of one class are one mask. `frame` is the part along a label map's
    fourth axis that is meant.
    """

    path: Path
    layout: Layout
    problem: str | None = None
    images: frozenset[Path] = frozenset()
    named: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    frame: int | None = None

    def masks(self) -> dict[str, Path]:
        """Mask files of a folder by stem; of several that are one mask the first.

        Raises:
            BenchError: two files are of one class.
        """
        found: dict[str, Path] = {name: paths[0] for name, paths in self.named}
        for path in () if self.named else volumes_in(self.path):
            if path in self.images:
                continue
            other = found.setdefault(composed(stem_of(path)), path)
            if other != path:
                raise BenchError(
                    f"two files for one class: {other.name} and {path.name}", file=self.path,
                    hint="delete the one that is not meant",
                )  # fmt: skip
        return found

    def mask_of(self, name: str, label: Label, masks: dict[str, Path]) -> Path | None:
        """The mask file of a class, by the label's file name or else by the class's name."""
        wanted = composed(label.file or name)
        return masks.get(wanted) or masks.get(stem_of(Path(wanted)))

    def parts_of(self, mask: Path) -> tuple[Path, ...]:
        """All files of the mask whose first file is given."""
        return next((paths for _, paths in self.named if paths[0] == mask), (mask,))

    def holds_a_mask(self, labels: Labels) -> bool:
        """Whether the mask file of at least one class is there."""
        there = self.masks()
        return any(self.mask_of(name, label, there) for name, label in labels.items())

    def files(self) -> list[Path]:
        """All files that the segmentation consists of."""
        if self.named:
            paths = [path for _, several in self.named for path in several]
        else:
            paths = volumes_in(self.path) if self.layout == "masks" else [self.path]
        if self.layout == "segments" and object_kind(self.path) == RTStructureSetStorage:
            paths += slices_beside(self.path)
        return [file for path in paths for file in companions(path)]


@dataclass(frozen=True)
class PairedFiles:
    """A reference and the prediction of the same name, if there is one."""

    name: str
    reference: Source
    prediction: Source | None


def one_file(path: Path) -> Source:
    """A file that holds a whole segmentation."""
    return Source(path, "segments" if has_segments(path) else "label maps")


def volumes_in(folder: Path) -> list[Path]:
    """The volume files that lie directly in a folder, sorted."""
    return sorted(p for p in folder.iterdir() if p.is_file() and is_segmentation(p))


def is_segmentation(path: Path) -> bool:
    """Whether a file is a volume by its name, or a DICOM object that holds segments."""
    return has_volume_suffix(path) or object_kind(path) is not None


def composed(name: str) -> str:
    """A name in one Unicode form: some systems write an accent as a character of its own."""
    return unicodedata.normalize("NFC", name)


def readable(name: str) -> str:
    """The name as text for tables and terminals.

    Bytes that are not UTF-8 and control characters, which could steer a terminal, are escapes.
    """
    return printable(os.fsencode(composed(name)).decode("utf-8", errors="backslashreplace"))


def some_of(names: Iterable[str]) -> str:
    """The first five names, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
