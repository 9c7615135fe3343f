"""One probability map for each tissue beside the image: the likeliest one is the label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import Field

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import RawCase, RawScan, arguments_of
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import CaseFiles, Finder, Pattern, PatternArguments
from evaluation.datasets.readers.volumes import on_image_grid, read_label, read_raw
from evaluation.errors import BenchError


class ProbabilitiesArguments(PatternArguments):
    """Arguments of the reader `probabilities`.

    `map` is the file of one tissue and holds `{structure}`, `structures` has for each label value
    what that stands for.
    """

    image: CaseFiles
    map: Pattern
    structures: Mapping[int, str] = Field(min_length=1)


class ProbabilitiesReader:
    """DLBS: a voxel has the label of its largest probability, of equal ones the first in the card.

    Where all maps are 0 there is background, as the published conversion has it: no probability
    is too small.
    """

    Arguments = ProbabilitiesArguments

    def __init__(self, card: DatasetCard) -> None:
        self.arguments = arguments_of(card, ProbabilitiesArguments)

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        finder = self.arguments.finder()
        return collect(self._cases(folder, finder), folder, [self.arguments.image], finder)

    def _cases(self, folder: Path, finder: Finder) -> Iterator[RawCase]:
        for match in finder.find(folder, self.arguments.image):
            maps, problem = {}, None
            for structure in self.arguments.structures.values():
                known = {**match.values, "structure": structure}
                path, several = finder.one(folder, self.arguments.map, known)
                maps[structure], problem = (path,), problem or several
            yield RawCase(
                case=match.values["case"],
                image=(match.path,),
                labels=maps,
                roots=(folder,),
                problem=problem,
            )

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        file = raw.image[0]
        image = read_raw(raw, file)
        best = np.zeros(image.array.shape, dtype=np.float32)
        labels = np.zeros(image.array.shape, dtype=np.uint8)
        for value, structure in self.arguments.structures.items():
            path = raw.labels[structure][0]
            array = on_image_grid(image, read_label(raw, path), path, file)
            if not np.isfinite(array).all() or array.min() < 0:
                raise BenchError(
                    f"case `{raw.case}`: not a probability map",
                    file=path,
                    found="NaN or infinity" if not np.isfinite(array).all() else array.min(),
                    expected="finite values from 0",
                    hint="download the file again, or name the case under `exclude` in the card",
                )
            larger = array > best
            best[larger] = array[larger]
            labels[larger] = value
        return RawScan(image, label_map=labels)
