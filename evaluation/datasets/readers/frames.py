"""Cine series of which two frames are annotated: 4-D NIfTI with a 4-D label map beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydantic import Field

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import RawCase, RawScan, ReaderArguments, arguments_of
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import CaseFiles, Finder, Pattern, PatternArguments
from evaluation.datasets.readers.volumes import (
    on_image_grid,
    read_channel,
    refuse_faulty,
    whole_numbers,
)
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Array

PHASES = ("ed", "es")


class SeriesFiles(ReaderArguments):
    """Where a patient's series and its label maps lie; both patterns have the field `{case}`."""

    image: CaseFiles
    label: Pattern


class FramesArguments(PatternArguments):
    """Arguments of the reader `frames`: `cavity` is the label value whose volume tells phases.

    `structures` are names of values, which classes of the card give as `file`, where not every
    frame has every structure drawn: one of which a frame has no voxel is not annotated there.
    """

    series: tuple[SeriesFiles, ...] = Field(min_length=1)
    cavity: int
    structures: Mapping[str, int] = {}


class FramesReader:
    """M&Ms: the end-diastolic and the end-systolic frame, each a case `<patient>_{ed,es}`.

    Files do not say which frames are annotated: those that hold a label are. The cavity is larger
    at the end of diastole.
    """

    Arguments = FramesArguments

    def __init__(self, card: DatasetCard) -> None:
        self.arguments = arguments_of(card, FramesArguments)

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        finder = self.arguments.finder()
        cases = [
            case for series in self.arguments.series for case in self._cases(folder, series, finder)
        ]
        return collect(cases, folder, [s.image for s in self.arguments.series], finder)

    def _cases(self, folder: Path, series: SeriesFiles, finder: Finder) -> list[RawCase]:
        found = []
        for match in finder.find(folder, series.image):
            label, several = finder.one(folder, series.label, match.values)
            found += [
                RawCase(
                    case=f"{match.values['case']}_{phase}",
                    image=(match.path,),
                    labels={"labels": (label,)},
                    sequence="cine",
                    roots=(folder,),
                    problem=several,
                )
                for phase in PHASES
            ]
        return found

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        file, label_file = raw.image[0], raw.labels["labels"][0]
        labels = self._labels(raw, label_file)
        annotated = np.flatnonzero(labels.any(axis=(0, 1, 2)))
        if len(annotated) != len(PHASES):
            raise BenchError(
                f"case `{raw.case}`: not two annotated frames",
                file=label_file,
                found=f"labels in frames {annotated.tolist()} of {labels.shape[3]}",
                expected="labels in two frames, the end of diastole and of systole",
                hint="download the labels again, or name the patient under `exclude` in the card",
            )
        cavity = (labels[..., annotated] == self.arguments.cavity).sum(axis=(0, 1, 2))
        # Without a cavity in view both are 0: the earlier frame, as series begin with diastole.
        relaxed = int(cavity.argmax())
        frame = int(annotated[relaxed if raw.case.endswith("_ed") else 1 - relaxed])
        image = read_channel(raw, file, frame, labels.shape[3])
        label = read_channel(raw, label_file, frame, labels.shape[3])
        array = on_image_grid(image, label, label_file, file)
        values = whole_numbers(array, label_file)
        if not self.arguments.structures:
            return RawScan(image, label_map=values)
        return RawScan(image, masks=self._drawn(raw, values))

    def _drawn(self, raw: RawCase, values: Array) -> dict[str, Array]:
        """The masks (x, y, z) of the structures that a frame shows."""
        structures = self.arguments.structures
        strange = sorted(set(np.unique(values).tolist()) - {0, *structures.values()})
        if strange:
            raise BenchError(
                f"case `{raw.case}`: the label map holds values that no structure has",
                file=raw.labels["labels"][0],
                found=strange[:8],
                expected=", ".join(f"{value} ({name})" for name, value in structures.items()),
                hint="name them under `structures` in the card",
            )
        masks = {name: values == value for name, value in structures.items()}
        return {name: mask for name, mask in masks.items() if mask.any()}

    def _labels(self, raw: RawCase, file: Path) -> Array:
        """The label maps of all frames (x, y, z, frame)."""
        refuse_faulty(raw, (file,))
        if not file.is_file():
            raise BenchError(
                f"case `{raw.case}`: mask file is missing",
                file=file,
                expected="label maps beside the series " + str(raw.image[0]),
                hint="download the labels again, or name the patient under `exclude` in the card",
            )
        try:
            image: Any = nib.load(file)
            array: Array = np.asarray(image.dataobj)
        except Exception as error:
            raise BenchError(
                "volume cannot be read; it is truncated or corrupt",
                file=file,
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                hint="download or write the file again",
            ) from error
        if array.ndim != 4:
            raise BenchError(
                f"case `{raw.case}`: the label maps are no series",
                file=file,
                found=f"shape {array.shape}",
                expected="four axes, the last of them the frames",
            )
        return array
