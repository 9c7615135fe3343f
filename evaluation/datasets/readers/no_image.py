"""References of several raters and no image: enough for `satbench ceiling`, not for a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.datasets.raters import RaterMasks, find_raters
from evaluation.datasets.readers.base import RawCase, RawScan, ReaderArguments, arguments_of
from evaluation.datasets.readers.layout import require_folder
from evaluation.errors import BenchError

if TYPE_CHECKING:
    from evaluation.datasets.card import DatasetCard


class NoImageArguments(ReaderArguments):
    """Arguments of the reader `no_image`: none, the card's `raters` says where the masks lie."""


class NoImageReader:
    """Cases of an entry that has no images."""

    Arguments = NoImageArguments

    def __init__(self, card: DatasetCard) -> None:
        arguments_of(card, NoImageArguments)
        if card.raters is None:
            raise BenchError(
                f"card `{card.id}`: the reader `no_image` needs `raters`",
                hint="say under `raters` where their masks lie (`masks: '{case}/{rater}.nii.gz'`)",
            )
        self.dataset = card.id
        self.raters: RaterMasks = card.raters

    def discover(self, folder: Path) -> list[RawCase]:
        """See `Reader.discover`."""
        require_folder(folder)
        return [
            RawCase(
                case=case,
                image=(),
                labels={rater: files.files for rater, files in raters.items()},
                roots=(folder,),
            )
            for case, raters in find_raters(folder, self.raters).items()
        ]

    def read(self, raw: RawCase) -> RawScan:
        """Always raises: there is no image to read.

        Raises:
            BenchError: names the case.
        """
        raise BenchError(
            f"case `{raw.case}` of `{self.dataset}` has references and no image",
            found=f"masks of {len(raw.labels)} raters",
            expected="an image, which whatever predicts or trains needs",
            hint="`satbench ceiling` scores its raters against each other without one",
        )
