"""Small volumes with a bright ball left and a brighter one right, and a network of two layers.

The network answers by classes or by exclusive labels: all that the engine asks of a model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from evaluation.classes.leaves import Leaf, places_of
from evaluation.files.writing import write_text
from evaluation.training.losses import StepLoss, label_loss, segmentation_loss
from evaluation.training.model import SegmentationModel, Start
from evaluation.training.prepared_case import prepare_case
from evaluation.training.settings import TrainingPreset, Triple
from evaluation.training.store import FORMAT, PreparedEntry, PreparedIndex
from evaluation.training.tasks import ClassTasks, Labels, LabelTasks
from evaluation.training.train import Trained, train
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

CLASSES = {
    "left ball": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1,)),)),
    "right ball": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(2,)),)),
    "ball": ClassPlace(kind="generated", parts=(Part(layer=0, values=(1, 2)),)),
}
LEAVES = tuple(
    Leaf(value, f"{value:03d} {name}", name, frozenset({name, "ball"}))
    for value, name in ((1, "left ball"), (2, "right ball"))
)


class ToyPreset(TrainingPreset):
    answers: str = "classes"
    dropout: float = 0.1

    @property
    def stride(self) -> Triple:
        return 4, 4, 4


def toy_preset(answers: str = "classes", dropout: float = 0.1, **training: object) -> ToyPreset:
    training.setdefault("sampling", {})
    training["sampling"] = {"entry_balance": "equal", "crops_per_group": 2} | training["sampling"]
    values = {
        "name": "toy", "description": "a toy", "answers": answers, "dropout": dropout,
        "grid": {"spacing_mm": (2.0, 2.0, 3.0)},
        "training": {
            "device": "cpu", "steps": 12, "batch": 2, "patch": (16, 16, 8), "pad_to": "stride",
            "learning_rate": 2e-3, "weight_decay": 0.01, "warm_up": 4, "clip": 1.0,
            "checkpoint_every": 4, "log_every": 1, **training,
        },
        "inference": {"patch": (16, 16, 8), "blending": "gaussian"},
    }  # fmt: skip
    return ToyPreset.model_validate(values)


class ToyModel(SegmentationModel):
    """Two convolutions with dropout between them; an output for each class, or for each label."""

    def __init__(self, preset: ToyPreset, names: Sequence[str]) -> None:
        super().__init__()
        self.preset, self.names = preset, tuple(names)
        if preset.answers == "classes":
            rows = {name: row for row, name in enumerate(names)}
            self.tasks = ClassTasks({"toy": rows}, preset.training.sampling)
        else:
            self.tasks = LabelTasks({"toy": Labels(0, LEAVES, places_of(LEAVES, names))})
        self.network = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Dropout(preset.dropout),
            nn.Conv3d(8, 3, 3, padding=1),
        )  # fmt: skip

    def loss(self, batch):
        logits, settings = self.network(batch.image), self.preset.training.loss
        if self.preset.answers == "labels":
            loss = label_loss(logits, batch.targets[:, 0], settings)
        else:
            logits = logits[torch.arange(len(logits))[:, None], batch.prompts]
            loss = segmentation_loss(logits, batch.targets, batch.valid, settings)
        parts = {"cross_entropy": loss.cross_entropy, "dice": loss.dice}
        return StepLoss(loss.total, parts, logits.detach())

    def answers(self, window, prompts):
        logits = self.network(window)
        labels = self.preset.answers == "labels"
        return (logits.softmax(1) if labels else logits.sigmoid())[:, prompts]

    def content(self) -> dict[str, Any]:
        return {
            "preset": self.preset.model_dump_json(),
            "names": list(self.names),
            "network": self.network.state_dict(),
        }


def restore(content: Mapping[str, Any], _path: Path) -> ToyModel:
    model = ToyModel(ToyPreset.model_validate_json(content["preset"]), content["names"])
    model.network.load_state_dict(content["network"])
    return model


def toy_scan(seed: int, shape: Triple = (40, 36, 14)) -> tuple[Volume, Segmentation]:
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.uint8)
    at = np.stack(np.indices(shape), axis=-1) * (1.0, 1.0, 2.0)
    for value, x in ((1, 10), (2, 28)):
        centre = np.array([x, 18, 14]) + random.uniform(-3, 3, 3)
        labels[np.linalg.norm(at - centre, axis=-1) < 7] = value
    image = 40 + random.normal(0, 8, shape) + 60 * (labels == 1) + 120 * (labels == 2)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return Volume(image.astype(np.float32), affine), Segmentation((labels,), affine, CLASSES)


def write_store(
    work: Path, preset: TrainingPreset, n_cases: int = 3, shape: Triple = (40, 36, 14)
) -> None:
    names = [f"case{i}" for i in range(n_cases)]
    for seed, name in enumerate(names):
        image, reference = toy_scan(seed, shape)
        folder = work / "prepared" / "toy" / name
        prepare_case(folder, "toy", name, "mri", image, reference, preset.grid)
    entry = PreparedEntry(
        dataset="toy", modality="mri", classes=tuple(CLASSES), specialists={}, cases=tuple(names)
    )
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=(entry,))
    write_text(work / "prepared" / "index.json", index.model_dump_json())


def train_toy(
    work: Path, preset: ToyPreset, seed: int, made_from: object = None, **options: Any
) -> Trained:
    """Train in `work` from `work/prepared`."""
    start = Start(
        lambda index: ToyModel(preset, index.entries[0].classes), restore, lambda: made_from
    )
    return train(work, work / "prepared", preset, seed, start, progress=False, **options)
