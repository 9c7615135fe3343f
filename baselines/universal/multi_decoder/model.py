"""The multi-decoder for the training engine: exclusive labels, and a decoder for each entry's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from baselines.universal.multi_decoder.config import Preset
from baselines.universal.multi_decoder.network import MultiDecoderNet
from evaluation.classes.leaves import Leaf, leaves_of, places_of
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.crops import Batch
from evaluation.training.losses import StepLoss, label_loss
from evaluation.training.model import SegmentationModel
from evaluation.training.tasks import Labels, LabelTasks


class MultiDecoderModel(SegmentationModel):
    """A network with one decoder for each entry.

    Args:
        preset: all settings.
        labels: of each entry, in the order of their rows.
    """

    preset: Preset
    tasks: LabelTasks
    skips_parameters = True

    def __init__(self, preset: Preset, labels: Mapping[str, Labels]) -> None:
        super().__init__()
        self.preset = preset
        self.tasks = LabelTasks(labels)
        outputs = {dataset: len(found.leaves) + 1 for dataset, found in labels.items()}
        self.network = MultiDecoderNet(preset.network, outputs)

    def loss(self, batch: Batch) -> StepLoss:
        """Every crop under its own entry's decoder."""
        parts = []
        logits = batch.image
        for rows, logits in self.network(batch.image, batch.datasets).values():
            loss = label_loss(logits, batch.targets[rows, 0], self.preset.training.loss)
            parts.append(torch.stack(loss) * (len(rows) / len(batch.datasets)))
        total, cross_entropy, dice = torch.stack(parts).sum(0)
        return StepLoss(total, {"cross_entropy": cross_entropy, "dice": dice}, logits.detach())

    def answers(self, window: Tensor, prompts: Tensor) -> Tensor:
        """Probabilities of some rows, all of one entry."""
        row = int(prompts[0])
        for dataset, labels in self.tasks.labels.items():
            if labels.first <= row <= labels.first + len(labels.leaves):
                logits: Tensor = self.network(window, [dataset] * len(window))[dataset][1]
                chosen = (prompts - labels.first).to(logits.device)
                return logits.float().softmax(dim=1)[:, chosen]
        raise ValueError(f"no entry has the row {row}")

    def content(self) -> dict[str, Any]:
        """A model as tensors and plain values."""
        labels = {
            dataset: {
                "leaves": [[x.value, x.name, x.owner, sorted(x.classes)] for x in found.leaves],
                "classes": {name: list(values) for name, values in found.classes.items()},
            }
            for dataset, found in self.tasks.labels.items()
        }
        return {
            "preset": self.preset.model_dump_json(),
            "labels": labels,
            "weights": self.network.state_dict(),
        }


def entry_labels(card: DatasetCard, scope: Sequence[str]) -> tuple[Leaf, ...]:
    """Labels of the annotated classes of an entry that a run is about; unions follow from them."""
    found = [card.class_entry(name) for name in scope]
    return leaves_of([entry for entry in found if entry.kind == "annotated"], card.id)


def numbered(leaves: Mapping[str, tuple[Leaf, ...]]) -> dict[str, Labels]:
    """Labels of each entry with rows of their own; entries without any are left out."""
    labels, first = {}, 0
    for dataset, found in leaves.items():
        if found:
            classes = sorted({name for leaf in found for name in leaf.classes})
            labels[dataset] = Labels(first, found, places_of(found, classes))
            first += len(found) + 1
    return labels


def model_from(content: Mapping[str, Any], path: Path) -> MultiDecoderModel:
    """The model in a checkpoint.

    Raises:
        BenchError: the content is not a multi-decoder's.
    """
    try:
        leaves = {
            dataset: tuple(Leaf(v, name, owner, frozenset(c)) for v, name, owner, c in x["leaves"])
            for dataset, x in content["labels"].items()
        }
        preset = Preset.model_validate_json(content["preset"])
        model = MultiDecoderModel(preset, numbered(leaves))
        model.network.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        raise BenchError(
            "this checkpoint is not a multi-decoder's",
            file=path,
            found=" ".join(str(error).split())[:200],
            hint="train the model again",
        ) from error
    return model


def load_model(path: Path) -> MultiDecoderModel:
    """The model of a checkpoint file, in evaluation mode on the CPU.

    Raises:
        BenchError: see `read_checkpoint` and `model_from`.
    """
    return model_from(read_checkpoint(path), path).eval()
