"""A universal system for the training engine: network, entries, and how it answers for them.

Two kinds: systems of masks that may overlap (a yes or no for each task), and systems of labels that
exclude each other (a softmax over the leaves of an entry, every class a union of them). A system
adds its network and its loss, see `masks` and `labels`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv3d_weight_memory_format

from baselines.universal.config import Preset
from baselines.universal.entries import Catalogue, Entry
from evaluation.training.crops import Batch
from evaluation.training.losses import LossParts, StepLoss
from evaluation.training.model import SegmentationModel
from evaluation.training.tasks import ClassTasks, Labels, LabelTasks

FORMAT = 1


class UniversalModel(SegmentationModel, ABC):
    """A network that answers for the entries of a catalogue.

    Args:
        preset: all settings.
        known: the entries that it is trained on.
    """

    preset: Preset

    def __init__(self, preset: Preset, known: Catalogue) -> None:
        super().__init__()
        self.preset, self.known = preset, known
        self.network = self.build()
        if preset.training.device == "cpu":
            # Convolutions of few channels take torch's CPU kernels half the time with the channels
            # innermost, a step of `demo` a fifth less.
            convert_conv3d_weight_memory_format(self.network, torch.channels_last_3d)

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with random weights."""

    @abstractmethod
    def of_rows(self, row: int) -> Entry:
        """The entry that a row belongs to."""

    @abstractmethod
    def entry_answers(self, image: Any, entry: Entry, rows: Tensor, modality: int) -> Tensor:
        """Probabilities (B, N, X, Y, Z) of images (B, 1, X, Y, Z) for rows (N,) of one entry.

        `image` may be what a system's own `windows` keeps of images, see
        `masks.ImageFirstModel`.
        `modality` is the row of the images in the modality tables.
        """

    @abstractmethod
    def rows_of(self, dataset: str) -> Tensor:
        """All rows (N,) of an entry."""

    def prompts(self, rows: Tensor, sequence: str | None = None) -> Tensor:
        """Rows (N,) of one entry, each beside the modality of the scan: (N, 2)."""
        modality = self.of_rows(int(rows[0])).modality_of(sequence)
        return torch.stack([rows, torch.full_like(rows, modality)], dim=1)

    def answers(self, window: Any, prompts: Tensor) -> Tensor:
        """Probabilities (B, N, X, Y, Z) of some windows for prompts (N, 2), all of one entry."""
        entry, modality = self.of_rows(int(prompts[0, 0])), int(prompts[0, 1])
        rows = prompts[:, 0].to(self.device)
        return self.entry_answers(window, entry, rows, modality).float()

    def weights(self) -> dict[str, Tensor]:
        """The network's weights as a checkpoint keeps them."""
        found: dict[str, Tensor] = self.network.state_dict()
        return found

    def content(self) -> dict[str, Any]:
        """A model as tensors and plain values."""
        return {
            "format": FORMAT,
            "preset": self.preset.model_dump_json(),
            "known": self.known.model_dump_json(),
            "weights": self.weights(),
        }


class MaskModel(UniversalModel):
    """Every task has a mask of its own; a crop is asked for all tasks of its entry.

    An image's tasks are those of its entry, so a class that the entry does not annotate gets no
    logit, or one that enters no loss.
    """

    tasks: ClassTasks

    def __init__(self, preset: Preset, known: Catalogue) -> None:
        rows: dict[str, dict[str, int]] = {entry.dataset: {} for entry in known.entries}
        for entry, name, row in known.rows():
            rows[entry.dataset][name] = row
        super().__init__(preset, known)
        self.tasks = ClassTasks(rows, preset.training.sampling)
        self._entries = [entry for entry, _, _ in known.rows()]
        # What the network calls a row: its output, token, or vector.
        self.register_buffer("places", torch.tensor(self.places_of_rows()), persistent=False)
        self.places: Tensor

    def places_of_rows(self) -> list[int]:
        """For each row the number that the network knows it by: by default the row."""
        return [row for _, _, row in self.known.rows()]

    @property
    def n_tasks(self) -> int:
        """Rows of all entries."""
        return sum(len(entry.classes) for entry in self.known.entries)

    def of_rows(self, row: int) -> Entry:
        """The entry that a row belongs to."""
        return self._entries[row]

    def rows_of(self, dataset: str) -> Tensor:
        """All rows of an entry."""
        return torch.tensor(list(self.tasks.rows[dataset].values()))

    def logits(self, image: Tensor, places: Tensor) -> Tensor:
        """Logits (B, P, X, Y, Z) of images (B, 1, X, Y, Z) for places (B, P)."""
        found: Tensor = self.network(image, places)
        return found

    def entry_answers(
        self,
        image: Any,
        entry: Entry,  # noqa: ARG002
        rows: Tensor,
        modality: int,  # noqa: ARG002
    ) -> Tensor:
        """A sigmoid for each row."""
        places = self.places[rows].expand(len(image), -1)
        return self.logits(image, places).float().sigmoid()

    @abstractmethod
    def loss_of(self, logits: Tensor, batch: Batch) -> LossParts:
        """The published loss of a batch's logits (B, P, X, Y, Z)."""

    def loss(self, batch: Batch) -> StepLoss:
        """Every crop asked for the tasks of its entry."""
        logits = self.logits(batch.image, self.places[batch.prompts])
        return step_loss(self.loss_of(logits, batch), logits)


class LabelModel(UniversalModel):
    """Every entry has labels that exclude each other, the background first."""

    tasks: LabelTasks

    def __init__(self, preset: Preset, known: Catalogue) -> None:
        labels, first = {}, 0
        for entry in known.entries:
            labels[entry.dataset] = Labels(first, entry.leaves, entry.places)
            first += len(entry.labels) + 1
        super().__init__(preset, known)
        self.tasks = LabelTasks(labels)

    @property
    def outputs(self) -> dict[str, int]:
        """Channels of each entry, background included."""
        return {entry.dataset: len(entry.labels) + 1 for entry in self.known.entries}

    def of_rows(self, row: int) -> Entry:
        """The entry that a row belongs to."""
        before = [e for e in self.known.entries if self.tasks.labels[e.dataset].first <= row]
        return before[-1]

    def rows_of(self, dataset: str) -> Tensor:
        """All rows of an entry, background first."""
        return self.tasks.labels[dataset].rows

    @abstractmethod
    def logits(self, image: Tensor, dataset: str) -> Tensor:
        """Logits (B, labels, X, Y, Z) of images of one entry."""

    def entry_answers(
        self,
        image: Tensor,
        entry: Entry,
        rows: Tensor,
        modality: int,  # noqa: ARG002
    ) -> Tensor:
        """A softmax over all labels of the entry, whichever are asked.

        So what bounds a window's memory is the labels of one entry, never those of all entries.
        """
        found = self.logits(image, entry.dataset).float().softmax(dim=1)
        return found[:, rows - self.tasks.labels[entry.dataset].first]


def step_loss(parts: LossParts, logits: Tensor, **more: Tensor) -> StepLoss:
    """What the engine takes of a loss; further terms are in its total already."""
    named: Mapping[str, Tensor] = {"cross_entropy": parts.cross_entropy, "dice": parts.dice}
    return StepLoss(parts.total, {**named, **more}, logits.detach())
