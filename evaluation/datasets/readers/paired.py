"""Image file and label map file, paired by pattern (NIfTI, NRRD or MetaImage)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import RawCase, RawScan, ReaderArguments, arguments_of
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import Finder, check_pattern, expected_path, fill
from evaluation.datasets.readers.volumes import (
    on_image_grid,
    read_label,
    read_raw,
    whole_numbers,
)
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Volume

Pattern = Annotated[str, AfterValidator(check_pattern)]


class ScanPattern(ReaderArguments):
    """Where the image and the label map of one kind of scan lie.

    `case` and `sequence` are templates over the placeholders of the patterns. Several scan
    patterns may name the same label: co-registered sequences share it.
    """

    image: Pattern
    label: Pattern
    case: str = "{case}"
    sequence: str | None = None


class PairedArguments(ReaderArguments):
    """Arguments of the reader `paired`.

    `image_folder` is another dataset's folder beside this one, where the images lie. `lead`
    says which file makes a case: with `label`, images without a label are no cases.
    `unlabelled: skip` leaves images without a label out, `error` reports each of them.
    `binarise` turns every value above 0 into 1. `label_header: image` is for labels whose header
    is known to be wrong: only their shape is checked.
    """

    scans: tuple[ScanPattern, ...] = Field(min_length=1)
    image_folder: str | None = Field(default=None, pattern=r"^[^/\\.][^/\\]*$")
    lead: Literal["image", "label"] = "image"
    unlabelled: Literal["error", "skip"] = "error"
    binarise: bool = False
    label_header: Literal["own", "image"] = "own"


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
        lead = self.arguments.lead
        patterns = [scan.image if lead == "image" else scan.label for scan in self.arguments.scans]
        return collect(self._cases(images, folder), folder, patterns)

    def _cases(self, images: Path, labels: Path) -> Iterator[RawCase]:
        roots = (labels,) if images == labels else (labels, images)
        finder = Finder()
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
                    else expected_path(second_root, second, match.values)
                )
                image, label = (partner, match.path) if label_first else (match.path, partner)
                case = fill(scan.case, values)
                several = ", ".join(str(p.path) for p in partners)
                yield RawCase(
                    case=case,
                    image=(image,),
                    labels={"labels": (label,)},
                    sequence=fill(scan.sequence, values) if scan.sequence else None,
                    roots=roots,
                    problem=f"case `{case}`: several files fit: {several}"
                    if len(partners) > 1
                    else None,
                )

    def strays(self, folder: Path) -> list[tuple[str, Path]]:
        """See `FindsStrays.strays`; images of another dataset's folder are its own business."""
        cases, finder = self.discover(folder), Finder()
        used = {file for raw in cases for file in (*raw.image, *raw.labels["labels"])}
        kinds = {scan.label: "label without an image" for scan in self.arguments.scans}
        if self.arguments.image_folder is None:
            kinds |= {scan.image: "image without a label" for scan in self.arguments.scans}
        return [
            (kind, match.path)
            for pattern, kind in kinds.items()
            for match in finder.find(folder, pattern)
            if match.path not in used
        ]

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        file, label_file = raw.image[0], raw.labels["labels"][0]
        image = read_raw(raw, file)
        label = read_label(raw, label_file)
        if self.arguments.label_header == "image":
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
