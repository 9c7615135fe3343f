"""Medical Segmentation Decathlon: TaskNN_Name/imagesTr and labelsTr, NIfTI, `._*` files beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers.base import RawCase, RawScan, ReaderArguments, arguments_of
from evaluation.datasets.readers.layout import collect, require_folder
from evaluation.datasets.readers.patterns import Finder
from evaluation.datasets.readers.volumes import (
    on_image_grid,
    read_channel,
    read_label,
    read_raw,
    whole_numbers,
)

_IMAGES = "imagesTr/{case}.{suffix}"
_LABELS = "labelsTr/{case}.{suffix}"
_NAMES = {"suffix": r"nii(\.gz)?"}


class DecathlonArguments(ReaderArguments):
    """`task`: the archive's own folder. `channels`: names of the channels of 4D images.

    Each channel is a case of its own, `<file>_<channel>`, and all share one label map.
    """

    task: str | None = None
    channels: tuple[str, ...] = ()


class DecathlonReader:
    """Reads the training half, the only one with labels."""

    Arguments = DecathlonArguments

    def __init__(self, card: DatasetCard) -> None:
        self.arguments = arguments_of(card, DecathlonArguments)

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`; the task's folder may be `folder` itself."""
        require_folder(folder)
        inner = self._inner(folder)
        finder = Finder(names=_NAMES)
        return collect(self._cases(inner, folder, finder), inner, [_IMAGES], finder)

    def _inner(self, folder: Path) -> Path:
        task = self.arguments.task
        return folder / task if task and (folder / task).is_dir() else folder

    def strays(self, folder: Path) -> list[tuple[str, Path]]:
        """See `FindsStrays.strays`."""
        used = {raw.labels["labels"][0] for raw in self.discover(folder)}
        labels = (match.path for match in Finder(names=_NAMES).find(self._inner(folder), _LABELS))
        return [("label without an image", path) for path in labels if path not in used]

    def _cases(self, inner: Path, root: Path, finder: Finder) -> Iterator[RawCase]:
        for match in finder.find(inner, _IMAGES):
            labels = finder.find(inner, _LABELS, {"case": match.values["case"]})
            label = labels[0].path if labels else inner / "labelsTr" / match.path.name
            name = match.values["case"]
            for channel in self.arguments.channels or (None,):
                yield RawCase(
                    case=f"{name}_{channel}" if channel else name,
                    image=(match.path,),
                    labels={"labels": (label,)},
                    sequence=channel,
                    roots=(root,),
                )

    def read(self, raw: RawCase) -> RawScan:
        """See `Reader.read`."""
        file, label_file = raw.image[0], raw.labels["labels"][0]
        channels = self.arguments.channels
        if raw.sequence in channels:
            image = read_channel(raw, file, channels.index(raw.sequence), len(channels))
        else:
            image = read_raw(raw, file)
        label = on_image_grid(image, read_label(raw, label_file), label_file, file)
        return RawScan(image, label_map=whole_numbers(label, label_file))
