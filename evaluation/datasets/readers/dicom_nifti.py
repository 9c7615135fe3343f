"""NSCLC with PleThora masks: DICOM images, one NIfTI mask for each structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import (
    LazyMasks,
    RawCase,
    RawScan,
    arguments_of,
)
from evaluation.datasets.readers.dicom import image_series, read_series, series_files
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import CaseFiles, Finder, Pattern, PatternArguments
from evaluation.datasets.readers.volumes import on_image_grid, read_label, refuse_faulty
from evaluation.volumes.image_files import Array


class DicomNiftiArguments(PatternArguments):
    """`image`: a case's folder, with `{case}`. `masks`: structure -> pattern of its file."""

    image: CaseFiles
    masks: Mapping[str, Pattern] = Field(min_length=1)


class DicomNiftiReader:
    """A case is a patient who has all masks; those with one of them only are left out.

    Masks are matched to the image by their affine: the files are stored in another orientation
    than the DICOM series.
    """

    Arguments = DicomNiftiArguments

    def __init__(self, card: DatasetCard) -> None:
        self.arguments = arguments_of(card, DicomNiftiArguments)

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        patterns = [self.arguments.image, *self.arguments.masks.values()]
        finder = self.arguments.finder()
        return collect(self._cases(folder, finder), folder, patterns, finder)

    def _cases(self, folder: Path, finder: Finder) -> Iterator[RawCase]:
        for match in finder.find(folder, self.arguments.image):
            known = {"case": match.values["case"]}
            masks = {
                name: finder.find(folder, pattern, known)
                for name, pattern in self.arguments.masks.items()
            }
            if not all(masks.values()):
                continue
            several = [name for name, found in masks.items() if len(found) > 1]
            images = series_files(match.path)
            problem = None
            if several:
                problem = f"case `{known['case']}`: several mask files for {', '.join(several)}"
            elif not images:
                problem = f"case `{known['case']}`: no DICOM file in its folder"
            yield RawCase(
                case=known["case"],
                image=images or (match.path,),
                labels={name: (found[0].path,) for name, found in masks.items()},
                roots=(folder,),
                problem=problem,
            )

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        refuse_faulty(raw, raw.image)
        image = read_series(image_series(raw.image)).volume

        def load(name: str) -> Array:
            file = raw.labels[name][0]
            mask: Array = on_image_grid(image, read_label(raw, file), file, raw.image[0].parent)
            return mask > 0

        return RawScan(image, masks=LazyMasks(list(raw.labels), load))
