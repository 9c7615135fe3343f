"""Image file and label map file, paired by pattern (NIfTI, NRRD or MetaImage)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import RawCase, RawScan, ReaderArguments, arguments_of
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import Finder, Pattern, PatternArguments, fields_of, fill
from evaluation.datasets.readers.volumes import (
    on_image_grid,
    read_label,
    read_raw,
    whole_numbers,
    with_spacing,
)
from evaluation.errors import BenchError
from evaluation.studies.record import PositiveMm
from evaluation.volumes.image_files import Volume


class ScanPattern(ReaderArguments):
    """Where the image and the label map of one kind of scan lie.

    `case` and `sequence` are templates over the fields of the patterns. Several scan patterns
    may name the same label: co-registered sequences share it.
    """

    image: Pattern
    label: Pattern
    case: str = "{case}"
    sequence: str | None = None

    @model_validator(mode="after")
    def _case_has_a_name(self) -> ScanPattern:
        known = {*fields_of(self.image), *fields_of(self.label)}
        for field in fields_of(f"{self.case} {self.sequence or ''}"):
            if field not in known:
                raise ValueError(
                    f"neither `{self.image}` nor `{self.label}` has the field {{{field}}}, which "
                    "names its cases: write it where their names differ"
                )
        return self


class PairedArguments(PatternArguments):
    """Arguments of the reader `paired`.

    `image_folder` is another dataset's folder beside this one, where the images lie. `lead`
    says which file makes a case: with `label`, images without a label are no cases.
    `unlabelled: skip` leaves images without a label out, `error` reports each of them.
    `binarise` turns every value above 0 into 1. `label_header: image` is for labels whose header
    is known to be wrong: only their shape is checked. `spacing_mm` (x, y, z) names cases whose
    headers, of image and label, have a wrong spacing, with the right one.
    """

    scans: tuple[ScanPattern, ...] = Field(min_length=1)
    image_folder: str | None = Field(default=None, pattern=r"^[^/\\.][^/\\]*$")
    lead: Literal["image", "label"] = "image"
    unlabelled: Literal["error", "skip"] = "error"
    binarise: bool = False
    label_header: Literal["own", "image"] = "own"
    spacing_mm: Mapping[str, tuple[PositiveMm, PositiveMm, PositiveMm]] = {}


class PairedReader:
    """Most public datasets: one image, one label map."""

    Arguments = PairedArguments

    def __init__(self, card: DatasetCard) -> None:
        self.arguments = arguments_of(card, PairedArguments)

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        images = folder
        if self.arguments.image_folder is not None:
            images = folder.parent / self.arguments.image_folder
            require_folder(images, "folder of the images, which belong to another dataset,")
        scans, by_image = self.arguments.scans, self.arguments.lead == "image"
        patterns = [scan.image if by_image else scan.label for scan in scans]
        finder = self.arguments.finder()
        cases = self._cases(images, folder, finder)
        return collect(cases, images if by_image else folder, patterns, finder)

    def _cases(self, images: Path, labels: Path, finder: Finder) -> Iterator[RawCase]:
        roots = (labels,) if images == labels else (labels, images)
        label_first = self.arguments.lead == "label"
        for scan in self.arguments.scans:
            first, second = (scan.label, scan.image) if label_first else (scan.image, scan.label)
            first_root, second_root = (labels, images) if label_first else (images, labels)
            for match in finder.find(first_root, first):
                partners = finder.find(second_root, second, match.values)
                if not partners and self.arguments.unlabelled == "skip" and not label_first:
                    continue
                values = {**match.values, **(partners[0].values if partners else {})}
                partner = (
                    partners[0].path
                    if partners
                    else finder.expected_path(second_root, second, match.values)
                )
                image, label = (partner, match.path) if label_first else (match.path, partner)
                case = fill(scan.case, values)
                several = ", ".join(str(p.path) for p in partners[:5])
                yield RawCase(
                    case=case,
                    image=(image,),
                    labels={"labels": (label,)},
                    sequence=fill(scan.sequence, values) if scan.sequence else None,
                    roots=roots,
                    problem=f"case `{case}`: several files fit `{second}`: {several}"
                    if len(partners) > 1
                    else None,
                )

    def strays(self, folder: Path) -> list[tuple[str, Path]]:
        """See `FindsStrays.strays`; images of another dataset's folder are its own business."""
        used = {
            file for raw in self.discover(folder) for file in (*raw.image, *raw.labels["labels"])
        }
        # What goes with a case has its names; only what makes a case must fit the expressions.
        finders = [self.arguments.finder(), Finder(self.arguments.top)]
        image_finder, label_finder = finders if self.arguments.lead == "image" else finders[::-1]
        found: dict[Path, str] = {}
        for scan in self.arguments.scans:
            for match in label_finder.find(folder, scan.label):
                found.setdefault(match.path, "label without an image")
        for scan in self.arguments.scans if self.arguments.image_folder is None else ():
            for match in image_finder.find(folder, scan.image):
                found.setdefault(match.path, "image without a label")
        return [(kind, path) for path, kind in found.items() if path not in used]

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        file, label_file = raw.image[0], raw.labels["labels"][0]
        image = read_raw(raw, file)
        label = read_label(raw, label_file)
        true_mm = self.arguments.spacing_mm.get(raw.case)
        if true_mm is not None:
            image = with_spacing(image, true_mm)
        if self.arguments.label_header == "image" or true_mm is not None:
            if label.array.shape != image.array.shape:
                raise BenchError(
                    "mask and image have different shapes",
                    file=label_file,
                    found=label.array.shape,
                    expected=f"{image.array.shape} of {file}",
                )
            label = Volume(label.array, image.affine)
        array = whole_numbers(on_image_grid(image, label, label_file, file), label_file)
        return RawScan(
            image, label_map=(array > 0).astype("uint8") if self.arguments.binarise else array
        )
