"""CHAOS: a DICOM series and a stack of PNG masks, one for each slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydantic import Field

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import RawCase, RawScan, ReaderArguments, arguments_of
from evaluation.datasets.readers.dicom import natural_key, read_series, series_files
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import Finder, Pattern, PatternArguments, fill
from evaluation.datasets.readers.volumes import refuse_faulty
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Array


class SeriesPattern(ReaderArguments):
    """Folders of one series and of its masks; phases of one sequence may share the masks."""

    images: Pattern
    masks: Pattern
    case: str = "{case}"
    sequence: str | None = None


class DicomPngArguments(PatternArguments):
    """`grey_values`: label value -> lowest and highest grey level that mean it."""

    series: tuple[SeriesPattern, ...] = Field(min_length=1)
    grey_values: Mapping[int, tuple[int, int]]


class DicomPngReader:
    """Slices and masks correspond by the order of their file names; z comes from the positions.

    In CHAOS, z descends with the file name, so a stack that is sorted by z alone lies upside
    down on the scan.
    """

    Arguments = DicomPngArguments

    def __init__(self, card: DatasetCard) -> None:
        self.arguments = arguments_of(card, DicomPngArguments)

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        patterns = [series.images for series in self.arguments.series]
        finder = self.arguments.finder()
        return collect(self._cases(folder, finder), folder, patterns, finder)

    def _cases(self, folder: Path, finder: Finder) -> Iterator[RawCase]:
        for series in self.arguments.series:
            for match in finder.find(folder, series.images):
                place, several = finder.one(folder, series.masks, match.values)
                png = [f for f in series_files(place) if f.suffix.lower() == ".png"]
                case = fill(series.case, match.values)
                images = series_files(match.path)
                yield RawCase(
                    case=case,
                    image=images or (match.path,),
                    labels={"labels": tuple(sorted(png, key=natural_key)) or (place,)},
                    sequence=fill(series.sequence, match.values) if series.sequence else None,
                    roots=(folder,),
                    problem=several
                    or (None if images else f"case `{case}`: no DICOM file in its folder"),
                )

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        masks = raw.labels["labels"]
        refuse_faulty(raw, (*raw.image, *masks))
        if len(masks) != len(raw.image):
            raise BenchError(
                f"case `{raw.case}`: the masks are not as many as the slices",
                file=masks[0].parent,
                found=f"{sum(m.is_file() for m in masks)} PNG masks",
                expected=f"{len(raw.image)}, one for each slice in {raw.image[0].parent}",
                hint="download the case again",
            )
        series = read_series(raw.image)
        shape = series.volume.array.shape
        label = np.empty(shape, dtype=np.uint8)
        for z, index in enumerate(series.order):
            label[..., z] = self._slice(masks[index], (shape[0], shape[1]))
        return RawScan(series.volume, label_map=label)

    def _slice(self, file: Path, shape: tuple[int, int]) -> Array:
        try:
            grey = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        except RuntimeError as error:
            raise BenchError(
                "PNG mask cannot be read; it is missing, truncated or corrupt",
                file=file,
                found=" ".join(str(error).split())[-160:],
                hint="download the case again",
            ) from error
        if grey.T.shape != shape:
            raise BenchError(
                "mask and slice have different sizes",
                file=file,
                found=f"{grey.T.shape} (columns, rows)",
                expected=shape,
            )
        table = np.zeros(256, dtype=np.uint8)
        known = np.zeros(256, dtype=bool)
        known[0] = True
        for value, (low, high) in self.arguments.grey_values.items():
            table[low : high + 1] = value
            known[low : high + 1] = True
        if not known[grey].all():
            raise BenchError(
                "mask holds grey levels that mean nothing",
                file=file,
                found=np.unique(grey[~known[grey]])[:8].tolist(),
                expected=f"0 or one of the ranges {list(self.arguments.grey_values.values())}",
            )
        labels: Array = table[grey].T
        return labels
