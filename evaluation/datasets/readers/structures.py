"""One mask file for each structure beside the image (NIfTI, or NRRD on a part of the grid)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import (
    LazyMasks,
    RawCase,
    RawScan,
    ReaderArguments,
    arguments_of,
)
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import (
    CaseFiles,
    Finder,
    Match,
    Pattern,
    PatternArguments,
)
from evaluation.datasets.readers.volumes import (
    on_image_grid,
    paste_on_image_grid,
    read_label,
    read_raw,
)
from evaluation.errors import BenchError
from evaluation.files.writing import visible
from evaluation.volumes.image_files import Array, Volume


class OtherRelease(ReaderArguments):
    """A release of the same layout that lacks some structures; `sign` is one that only it has."""

    sign: str
    lacks: tuple[str, ...]
    hint: str


class StructuresArguments(PatternArguments):
    """Arguments of the reader `structures`.

    `mask` holds `{structure}`, which stands for the `file` of a class in the card; `masks` has
    patterns of structures that lie elsewhere. `missing` says what an absent mask file means.
    `sub_grid`: masks may cover a part of the image's grid only. `flip_x`: structures whose files
    are stored mirrored along their first axis. `other_releases`, by name, are recognised so that
    the message about a missing file can say what is going on.
    """

    image: CaseFiles
    mask: Pattern
    masks: Mapping[str, Pattern] = {}
    missing: Literal["error", "empty", "not_annotated"] = "error"
    sub_grid: bool = False
    flip_x: tuple[str, ...] = ()
    other_releases: Mapping[str, OtherRelease] = {}


class MaskFiles(Mapping[str, tuple[Path, ...]]):
    """Mask files of a case by structure, looked for when they are asked for.

    A thousand scans with a hundred masks each are discovered in a second, not in ten.
    """

    def __init__(self, names: Sequence[str], find: Callable[[str], Path]) -> None:
        self._names, self._find = tuple(names), find

    def __getitem__(self, name: str) -> tuple[Path, ...]:
        if name not in self._names:
            raise KeyError(name)
        return (self._find(name),)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class StructuresReader:
    """TotalSegmentator, HaN-Seg, BrainPTM and others like them."""

    Arguments = StructuresArguments

    def __init__(self, card: DatasetCard) -> None:
        self.dataset = card.id
        self.arguments = arguments_of(card, StructuresArguments)
        self.class_of = {e.file: e.name for e in card.annotated if e.file is not None}

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        finder = self.arguments.finder()
        return collect(self._cases(folder, finder), folder, [self.arguments.image], finder)

    def _cases(self, folder: Path, finder: Finder) -> Iterator[RawCase]:
        for match in finder.find(folder, self.arguments.image):
            # A finder of its own for each case, which remembers one folder of masks.
            mask_path = partial(self._mask_path, folder, match, self.arguments.finder())
            yield RawCase(
                case=match.values["case"],
                image=(match.path,),
                labels=MaskFiles(list(self.class_of), mask_path),
                roots=(folder,),
            )

    def strays(self, folder: Path) -> list[tuple[str, Path]]:
        """See `FindsStrays.strays`; one mask stands for all of its case."""
        cases = {raw.case for raw in self.discover(folder)}
        masks = Finder(self.arguments.top).find(folder, self.arguments.mask)
        lonely = {m.values["case"]: m.path for m in masks if m.values["case"] not in cases}
        return [("label without an image", path) for path in lonely.values()]

    def _mask_path(self, folder: Path, match: Match, finder: Finder, structure: str) -> Path:
        values = {**match.values, "structure": structure}
        pattern = self.arguments.masks.get(structure, self.arguments.mask)
        path, several = finder.one(folder, pattern, values)
        if several:
            raise BenchError(
                f"case `{match.values['case']}`: {several}",
                file=path,
                hint="remove or rename the file that does not belong there, or narrow the pattern",
            )
        return path

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`; masks are read one at a time, when they are asked for."""
        image = read_raw(raw, raw.image[0])
        present = {name for name, files in raw.labels.items() if files[0].is_file()}
        if not present:
            raise BenchError(
                f"case `{raw.case}` has no mask file at all",
                file=next(iter(raw.labels.values()))[0].parent if raw.labels else raw.image[0],
                expected=f"files such as {self.arguments.mask}",
                hint="download the labels, or name the case under `exclude` in the card",
            )
        missing = self.arguments.missing
        names = [n for n in raw.labels if n in present or missing != "not_annotated"]

        def load(name: str) -> Array:
            file = raw.labels[name][0]
            if name not in present and missing == "empty":
                return np.zeros(image.array.shape, dtype=bool)
            if name not in present:
                self._refuse_other_release(raw, name)
            mask = read_label(raw, file)
            if name in self.arguments.flip_x:
                mask = Volume(mask.array[::-1], mask.affine)
            if self.arguments.sub_grid:
                return paste_on_image_grid(image, mask, file, raw.image[0])
            return on_image_grid(image, mask, file, raw.image[0]) > 0

        return RawScan(image, masks=LazyMasks(names, load))

    def _refuse_other_release(self, raw: RawCase, structure: str) -> None:
        """Raise a BenchError if the case lacks a structure because of its release."""
        file = raw.labels[structure][0]
        for title, release in self.arguments.other_releases.items():
            signs = visible(file.parent, f"{release.sign}.*")
            if structure in release.lacks and any(path.is_file() for path in signs):
                names = [self.class_of[name] for name in release.lacks]
                setting = f"{self.dataset}: [{', '.join('-' + name for name in names)}]"
                raise BenchError(
                    f"case `{raw.case}` comes from {title}, which lacks classes of the card",
                    file=file,
                    found="no masks of " + ", ".join(names),
                    expected="the release that the card is about",
                    hint=f"{release.hint}; or go on without these classes, in the configuration: "
                    f"classes: {{{setting}}}",
                )
