"""Find the cases of two folders (or two files) and match them by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.errors import BenchError
from evaluation.files.writing import is_hidden
from evaluation.scoring.labels import Label, Labels
from evaluation.volumes.headers import companions
from evaluation.volumes.image_files import VOLUME_SUFFIXES, has_volume_suffix, stem_of

Layout = Literal["label maps", "masks"]
# TotalSegmentator's folder of masks inside a case's folder.
_MASK_FOLDER = "segmentations"


@dataclass(frozen=True)
class Source:
    """One segmentation: a label map, or a folder of one mask file per class.

    `problem` says why it cannot be used, for example because two files have the case's name.
    """

    path: Path
    layout: Layout
    problem: str | None = None

    def masks(self) -> dict[str, Path]:
        """Mask files of a folder by stem."""
        return {stem_of(path): path for path in _volumes(self.path)}

    def mask_of(self, name: str, label: Label, masks: dict[str, Path]) -> Path | None:
        """The mask file of a class, by the label's file name or else by the class's name."""
        wanted = label.file or name
        return masks.get(wanted) or masks.get(stem_of(Path(wanted)))

    def holds_a_mask(self, labels: Labels) -> bool:
        """Whether the mask file of at least one class is there."""
        there = self.masks()
        return any(self.mask_of(name, label, there) for name, label in labels.items())

    def files(self) -> list[Path]:
        """All files that the segmentation consists of."""
        named = [self.path] if self.layout == "label maps" else sorted(self.masks().values())
        return [file for path in named for file in companions(path)]


@dataclass(frozen=True)
class Case:
    """A reference and the prediction of the same name, if there is one."""

    name: str
    reference: Source
    prediction: Source | None


def find_cases(
    reference: Path, prediction: Path, labels: Labels | None = None
) -> tuple[list[Case], list[str]]:
    """Cases of the reference in alphabetical order, and predictions that have no reference.

    Two files make one case whatever their names. In folders, the name of a case is its file name
    without suffix, or the name of its folder of masks. Where every label is a file name, two
    folders that hold those files themselves are one case.

    Args:
        reference: file or folder.
        prediction: file or folder.
        labels: the classes, if they are known already.

    Raises:
        BenchError: a path does not exist, a file meets a folder, a folder holds no
            segmentation, or no prediction has the name of a reference.
    """
    for path in (reference, prediction):
        if not path.exists():
            raise BenchError("no such file or folder", file=path.absolute())
    if reference.is_file() and prediction.is_file():
        for path in (reference, prediction):
            if not has_volume_suffix(path):
                raise BenchError(
                    "not a volume by its name", file=path, expected=", ".join(VOLUME_SUFFIXES)
                )
        name = readable(stem_of(reference))
        sources = (Source(reference, "label maps"), Source(prediction, "label maps"))
        return [Case(name, *sources)], []
    if reference.is_file() or prediction.is_file():
        raise BenchError(
            "one path is a file and the other a folder",
            found=f"{reference} and {prediction}",
            expected="two files, or two folders",
            hint="to score one case, name its file on both sides",
        )
    if labels and all(label.file for label in labels.values()):
        pair = Source(reference, "masks"), Source(prediction, "masks")
        if all(source.holds_a_mask(labels) for source in pair):
            return [Case(readable(reference.resolve().name), *pair)], []
    known, answers = _sources(reference), _sources(prediction)
    if not known.keys() & answers.keys():
        raise BenchError(
            "no prediction has the name of a reference",
            file=prediction,
            found=some_of(answers),
            expected=some_of(known),
            hint="a case is matched by its file name without the suffix: rename the predictions",
        )
    cases = [Case(name, source, answers.get(name)) for name, source in sorted(known.items())]
    return cases, sorted(answers.keys() - known.keys())


def readable(name: str) -> str:
    """The name as text; bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _sources(folder: Path) -> dict[str, Source]:
    found: dict[str, list[Source]] = {}
    try:
        for path in _volumes(folder):
            name = readable(stem_of(path))
            found.setdefault(name, []).append(Source(path, "label maps"))
        for path in sorted(p for p in folder.iterdir() if p.is_symlink() and not p.exists()):
            if has_volume_suffix(path):
                nowhere = Source(path, "label maps", "the link leads nowhere")
                found.setdefault(readable(stem_of(path)), []).append(nowhere)
        if not found:
            for path in sorted(p for p in folder.iterdir() if p.is_dir()):
                inner = path / _MASK_FOLDER
                masks = inner if inner.is_dir() else path
                if not is_hidden(path.name) and _volumes(masks):
                    found.setdefault(readable(path.name), []).append(Source(masks, "masks"))
    except PermissionError as error:
        raise BenchError("folder cannot be read", file=folder, found=error) from error
    if not found:
        raise BenchError(
            "folder holds no segmentation",
            file=folder,
            found=some_of(readable(path.name) for path in folder.iterdir()) or "an empty folder",
            expected=f"files {', '.join(VOLUME_SUFFIXES)}, or one folder of masks for each case",
            hint="name the folder that directly holds the label maps, or the folders of the cases",
        )
    return {name: _only(sources) for name, sources in found.items()}


def _only(sources: list[Source]) -> Source:
    if len(sources) == 1:
        return sources[0]
    names = ", ".join(readable(source.path.name) for source in sources)
    return Source(sources[0].path, sources[0].layout, f"several files have this name: {names}")


def _volumes(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and has_volume_suffix(p))


def some_of(names: Iterable[str]) -> str:
    """The first five names, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
