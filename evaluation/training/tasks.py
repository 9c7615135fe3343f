"""What a crop is asked for: the masks of some classes, or one map of exclusive labels.

A task is one answer that a network can give, and has a row: the number by which training crops,
`SegmentationModel.loss` and `SegmentationModel.answers` speak of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.classes.leaves import Leaf, LeafTable, leaf_table
from evaluation.training.sampling import choose_prompts
from evaluation.training.settings import Sampling
from evaluation.training.store import PreparedEntry, PreparedRecord
from evaluation.volumes.image_files import Array

Mask = NDArray[np.bool_]
Ask = Callable[[Tensor], Iterator[tuple[int, Tensor]]]
"""From rows (N,) to the number of each and its probabilities (X, Y, Z) on the own grid."""


class Targets(NamedTuple):
    """What a crop is trained on.

    Attributes:
        masks: (T, X, Y, Z): a mask for each row (bool), or one label map (uint8, T = 1).
        rows: (P,) the tasks.
        valid: (P,) false for a class that the case has no annotation of.
    """

    masks: Tensor
    rows: Tensor
    valid: Tensor


class Tasks(Protocol):
    """The tasks of a model."""

    def classes(self, entry: PreparedEntry) -> Sequence[str]:
        """Classes of an entry that are trained; none leaves the entry out."""
        ...

    def targets(
        self,
        layers: Array,
        record: PreparedRecord,
        classes: Sequence[str],
        random: np.random.Generator,
    ) -> Targets:
        """What a crop of label layers (L, X, Y, Z) of a case is asked for."""
        ...

    def masks(self, record: PreparedRecord, ask: Ask) -> Iterator[tuple[str, Mask]]:
        """Name and mask of every trained and annotated class of a case, by what is answered."""
        ...


@dataclass(frozen=True)
class ClassTasks:
    """A yes or no for each class; classes may overlap, and absent ones may be asked for.

    Attributes:
        rows: dataset, or modality, -> class -> row; several may share rows.
        sampling: how many classes a crop is asked for.
        by: what a class is known by besides its name.
    """

    rows: Mapping[str, Mapping[str, int]]
    sampling: Sampling
    by: Literal["dataset", "modality"] = "dataset"

    def rows_of(self, of: PreparedEntry | PreparedRecord) -> Mapping[str, int]:
        """Row of each class of an entry or a case."""
        return self.rows.get(of.dataset if self.by == "dataset" else of.modality, {})

    def classes(self, entry: PreparedEntry) -> Sequence[str]:
        """Those with a row."""
        return [name for name in entry.classes if name in self.rows_of(entry)]

    def targets(
        self,
        layers: Array,
        record: PreparedRecord,
        classes: Sequence[str],
        random: np.random.Generator,
    ) -> Targets:
        """A mask for each chosen class."""
        shown = classes_in(layers, record, classes)
        names = choose_prompts(classes, shown, self.sampling, random)
        rows = self.rows_of(record)
        return Targets(
            masks=torch.from_numpy(np.stack([class_mask(layers, record, n) for n in names])),
            rows=torch.tensor([rows[name] for name in names]),
            valid=torch.tensor([name not in record.not_annotated for name in names]),
        )

    def masks(self, record: PreparedRecord, ask: Ask) -> Iterator[tuple[str, Mask]]:
        """Every class apart: probability of at least a half."""
        known = self.annotated(record)
        names = list(known)
        for number, probability in ask(torch.tensor(list(known.values()), dtype=torch.long)):
            yield names[number], (probability >= 0.5).numpy()

    def annotated(self, record: PreparedRecord) -> dict[str, int]:
        """Row of each class of a case that has one and is annotated in it."""
        rows = self.rows_of(record)
        return {
            name: rows[name]
            for name in record.classes
            if name in rows and name not in record.not_annotated
        }


@dataclass(frozen=True)
class Labels:
    """The exclusive labels of an entry: 0 is background, every class a union of the others.

    Attributes:
        first: row of the background; the labels follow it.
        leaves: labels and the classes that they belong to.
        classes: class -> labels.
    """

    first: int
    leaves: tuple[Leaf, ...]
    classes: Mapping[str, tuple[int, ...]]

    @property
    def rows(self) -> Tensor:
        """Rows of all labels, background first."""
        return torch.arange(self.first, self.first + len(self.leaves) + 1)


class LabelTasks:
    """One label for each voxel, among the disjoint leaves of its entry's classes.

    A label whose class a case has no annotation of is not `valid` there: its voxels, which stand
    as background, are no evidence against it, and a loss leaves it out of that case's softmax.
    """

    def __init__(self, labels: Mapping[str, Labels]) -> None:
        self.labels = dict(labels)
        self._tables: dict[object, LeafTable] = {}

    def classes(self, entry: PreparedEntry) -> Sequence[str]:
        """Those that are unions of labels."""
        known = self.labels.get(entry.dataset)
        return [name for name in entry.classes if known and name in known.classes]

    def targets(
        self,
        layers: Array,
        record: PreparedRecord,
        classes: Sequence[str],  # noqa: ARG002
        random: np.random.Generator,  # noqa: ARG002
    ) -> Targets:
        """The label map, the rows of all labels, and which of them the case is annotated for."""
        labels = self.labels[record.dataset]
        rows = labels.rows
        found = self._table(record, len(layers), labels).labels(list(layers))[0]
        unknown = [leaf.owner in record.not_annotated for leaf in labels.leaves]
        valid = ~torch.tensor([False, *unknown])
        if not valid.all():
            valid[np.unique(found).tolist()] = (
                True  # what an overlap rule put there is known to be there
            )
        return Targets(torch.from_numpy(found)[None], rows, valid)

    def _table(self, record: PreparedRecord, n_layers: int, labels: Labels) -> LeafTable:
        """The look-up of a case; most cases of an entry share one."""
        key = record.dataset, n_layers, tuple(record.classes.items())
        if key not in self._tables:
            places = {n: place for n, place in record.classes.items() if n in labels.classes}
            self._tables[key] = leaf_table(places, n_layers, labels.leaves)
        return self._tables[key]

    def masks(self, record: PreparedRecord, ask: Ask) -> Iterator[tuple[str, Mask]]:
        """The likeliest label of every voxel, and the unions of it."""
        labels = self.labels.get(record.dataset)
        if labels is None:
            return
        likeliest = np.zeros(record.shape, dtype=np.uint8)
        best = torch.full(record.shape, -1.0)
        for label, probability in ask(labels.rows):
            better = probability > best
            best = torch.where(better, probability, best)
            likeliest[better.numpy()] = label
        for name, values in labels.classes.items():
            if name in record.classes and name not in record.not_annotated:
                yield name, np.isin(likeliest, values)


def classes_in(layers: Array, record: PreparedRecord, classes: Sequence[str]) -> dict[str, bool]:
    """For each class whether a crop of layers (L, X, Y, Z) shows it."""
    values = [set(np.unique(layer).tolist()) for layer in layers]
    places = {name: record.classes.get(name) for name in classes}
    return {
        name: place is not None
        and any(values[part.layer].intersection(part.values) for part in place.parts)
        for name, place in places.items()
    }


def class_mask(layers: Array, record: PreparedRecord, name: str) -> Array:
    """Boolean mask (X, Y, Z) of a class in a crop of layers (L, X, Y, Z); none if not annotated."""
    mask = np.zeros(layers.shape[1:], dtype=bool)
    place = record.classes.get(name)
    for part in place.parts if place else ():
        table = np.zeros(int(np.iinfo(layers.dtype).max) + 1, dtype=bool)
        table[list(part.values)] = True
        mask |= table[layers[part.layer]]
    return mask
