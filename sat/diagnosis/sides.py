"""What goes wrong with text prompts in particular: left and right exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.cases import PREDICTION_FILE, read_prediction, read_reference
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.paths import RunPaths
from evaluation.volumes.segmentation import Segmentation

_OTHER = {"left": "right", "right": "left"}


def other_side(name: str) -> str | None:
    """The name of the other side's structure, or None for a name without a side."""
    words = name.split(" ")
    sides = [i for i, word in enumerate(words) if word in _OTHER]
    if len(sides) != 1:
        return None
    words[sides[0]] = _OTHER[words[sides[0]]]
    return " ".join(words)


def side_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """(left, right) pairs among class names, in their order."""
    known = set(names)
    return [
        (name, other)
        for name in names
        if (other := other_side(name)) in known and other is not None and "left" in name.split(" ")
    ]


@dataclass(frozen=True)
class SideSwaps:
    """How often a predicted side lies on the other side.

    Attributes:
        pairs: (case, pair)s with both references and at least one prediction not empty.
        swapped: those in which a side's prediction overlaps the other side's reference more
            than its own.
        empty: (case, pair)s left out because both predictions are empty.
    """

    pairs: int
    swapped: int
    empty: int

    @property
    def rate(self) -> float:
        """Part of the counted pairs that are swapped; NaN if there is none."""
        return self.swapped / self.pairs if self.pairs else float("nan")

    def __add__(self, other: SideSwaps) -> SideSwaps:
        """Counts of both together."""
        return SideSwaps(
            self.pairs + other.pairs, self.swapped + other.swapped, self.empty + other.empty
        )


def side_swaps(reference: Segmentation, prediction: Segmentation) -> SideSwaps:
    """Side swaps of one case, over the pairs that both segmentations know."""
    names = [name for name in reference.classes if name in prediction.classes]
    total = SideSwaps(0, 0, 0)
    for left, right in side_pairs(names):
        truth = {name: reference.mask(name) for name in (left, right)}
        if not all(mask.any() for mask in truth.values()):
            continue
        guess = {name: prediction.mask(name) for name in (left, right)}
        if not any(mask.any() for mask in guess.values()):
            total += SideSwaps(0, 0, 1)
            continue
        swapped = any(
            np.count_nonzero(guess[a] & truth[b]) > np.count_nonzero(guess[a] & truth[a])
            for a, b in ((left, right), (right, left))
        )
        total += SideSwaps(1, int(swapped), 0)
    return total


def answered(
    paths: RunPaths, model: str, dataset: str, cases: Iterable[str]
) -> Iterator[tuple[Segmentation, Segmentation]]:
    """Reference and prediction of each case; cases without a prediction are left out."""
    for case in cases:
        folder = paths.prediction(model, dataset, case)
        if (folder / PREDICTION_FILE).is_file():
            yield read_reference(paths.case(dataset, case))[1], read_prediction(folder)[1]


def run_side_swaps(
    paths: RunPaths, config: RunConfig, model: str, dataset: str, cases: Iterable[str]
) -> SideSwaps:
    """Side swaps of a model's predictions in a run; cases without a prediction are left out."""
    total = SideSwaps(0, 0, 0)
    if side_pairs([entry.name for entry in classes_in_scope(find_card(dataset), config)]):
        for reference, prediction in answered(paths, model, dataset, cases):
            total += side_swaps(reference, prediction)
    return total
