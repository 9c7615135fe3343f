"""SAT-Nano as one object: network, prompt projection, known prompts and preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from evaluation.classes.modality import MODALITIES
from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint, require_finite
from evaluation.training.crops import Batch
from evaluation.training.features import WindowFeatures
from evaluation.training.losses import StepLoss, supervised_loss
from evaluation.training.model import SegmentationModel
from evaluation.training.settings import Triple
from evaluation.training.tasks import ClassTasks
from sat.architecture.network import Features, SatNetwork
from sat.config import Preset
from sat.prompts.book import Key, PromptBook, PromptProjection

FORMAT = 1


class SatModel(SegmentationModel):
    """Network and prompt projection, trained together; the text encoder is frozen outside.

    Args:
        preset: all sizes and settings.
        book: prompts that the model knows, with their text embeddings.
        trained: classes trained in each dataset.
        network: with its weights; a new one with random weights by default.
    """

    preset: Preset
    tasks: ClassTasks
    embeddings: Tensor

    def __init__(
        self,
        preset: Preset,
        book: PromptBook,
        trained: Mapping[str, tuple[str, ...]],
        network: SatNetwork | None = None,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.book = book
        self.trained = dict(trained)
        # File and SHA-256 of the encoder that the training started from, if it was not random.
        self.initial_encoder: dict[str, str] | None = None
        self.network = SatNetwork(preset.network) if network is None else network
        self.projection = PromptProjection(
            preset.prompts, book.embeddings.shape[1], preset.network.query_width
        )
        self.projection.fit(book.embeddings)
        self.tasks = book.tasks(preset.training.sampling)
        # On the model's device; a checkpoint has those of the book.
        self.register_buffer("embeddings", book.embeddings, persistent=False)

    def queries(self, embeddings: Tensor) -> Tensor:
        """Queries (N, d) of text embeddings (N, E)."""
        queries: Tensor = self.projection(embeddings)
        return queries

    def prompts(self, rows: Tensor, sequence: str | None = None) -> Tensor:  # noqa: ARG002
        """Queries (N, d) of rows (N,) of the book."""
        return self.queries(self.embeddings[rows.to(self.device)])

    def loss(self, batch: Batch) -> StepLoss:
        """Logits of each crop's own prompts, and of coarser scales with deep supervision."""
        queries = self.queries(self.embeddings)[batch.prompts]
        outputs = self.network(batch.image, queries)
        loss = supervised_loss(outputs, batch.targets, batch.valid, self.preset.training.loss)
        logits = outputs if isinstance(outputs, Tensor) else outputs[0]
        parts = {"cross_entropy": loss.cross_entropy, "dice": loss.dice}
        return StepLoss(loss.total, parts, logits.detach())

    def answers(self, window: Features, prompts: Tensor) -> Tensor:
        """Probabilities of queries (N, d), each independent of the others."""
        return self.network.decode(window, prompts).float().sigmoid()

    def windows(
        self,
        volume: Tensor,
        window: Triple,
        on_window: Callable[[int, int], None] | None = None,
        *,
        walks: int = 1,  # noqa: ARG002
    ) -> WindowFeatures:
        """Features of every window, computed once whatever the number of prompts."""
        return WindowFeatures(
            self.network.encode, volume, window, self.preset.inference, self.device, on_window
        )

    def content(self) -> dict[str, Any]:
        """Everything that a prediction needs, as tensors and plain values."""
        return {
            "format": FORMAT,
            "preset": self.preset.model_dump_json(),
            "prompts": [list(key) for key in self.book.keys],
            "embeddings": self.book.embeddings,
            "trained": {dataset: list(names) for dataset, names in self.trained.items()},
            "network": self.network.state_dict(),
            "projection": self.projection.state_dict(),
            "initial_encoder": self.initial_encoder,
        }


def model_from(content: Mapping[str, Any], origin: Path) -> SatModel:
    """The model of a checkpoint's content.

    Raises:
        BenchError: the content is of another kind or version, or its sizes contradict each other.
    """
    version = content.get("format")
    if not isinstance(version, int) or version != FORMAT:
        raise BenchError(
            "not a SAT-Nano checkpoint of this version",
            file=origin,
            found=f"format {version}, keys {sorted(map(str, content))[:6]}",
            expected=f"format {FORMAT}",
            hint="`satbench sat convert-released` makes one of the authors' released weights",
        )
    try:
        preset = Preset.model_validate_json(content["preset"])
        book = _book(content["prompts"], content["embeddings"])
        # Without drawing random weights first, which takes seconds at full size.
        with torch.device("meta"):
            network = SatNetwork(preset.network)
        network.load_state_dict(_weights(content["network"]), assign=True)
        model = SatModel(
            preset,
            book,
            {dataset: tuple(names) for dataset, names in content["trained"].items()},
            network.float(),
        )
        model.projection.load_state_dict(_weights(content["projection"]))
        # Absent in checkpoints of before there was a choice.
        model.initial_encoder = content.get("initial_encoder")
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        ValidationError,
    ) as error:
        raise BenchError(
            "checkpoint does not fit together",
            file=origin,
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            hint="train it again",
        ) from error
    return model


def _book(prompts: Any, embeddings: Any) -> PromptBook:
    """The prompt book of a checkpoint's plain values; a `ValueError` says what is wrong in it."""
    keys: list[Key] = []
    for prompt in prompts:
        match prompt:
            case [str(modality), str(name)] if modality in MODALITIES:
                keys.append((modality, name))
            case _:
                raise ValueError(f"the prompt {prompt!r} is no pair of a modality and a name")
    _weights({"embeddings": embeddings})
    if embeddings.ndim != 2 or len(embeddings) != len(keys) or not embeddings.shape[1]:
        raise ValueError(f"embeddings {tuple(embeddings.shape)} for {len(keys)} prompts")
    if not torch.isfinite(embeddings).all():
        raise ValueError("the embeddings hold values that are not numbers (NaN or infinite)")
    return PromptBook(tuple(keys), embeddings.float())


def _weights(values: Any) -> dict[str, Tensor]:
    """A state dict of plain real tensors; the network would take others, and fail much later."""
    for name, value in dict(values).items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is no tensor: {type(value).__name__}")
        plain = value.layout is torch.strided and not value.is_meta
        if not plain or not value.is_floating_point():
            raise ValueError(
                f"{name} holds no floating-point numbers: {value.dtype}, {value.layout}"
            )
    return dict(values)


def load_model(path: Path) -> SatModel:
    """The model of a checkpoint file, in evaluation mode on the CPU.

    Raises:
        BenchError: see `read_checkpoint` and `model_from`; or a weight is not a number.
    """
    model = model_from(read_checkpoint(path), path)
    require_finite(model, path)
    return model.eval()
