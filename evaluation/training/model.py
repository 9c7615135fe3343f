"""What a network must give to be trained and to predict: this page is all of it.

A training makes crops, calls `loss`, and writes `content`; a prediction walks over the windows of
a scan and asks for `answers`. Everything else is the engine's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from evaluation.training.crops import Batch
from evaluation.training.losses import StepLoss
from evaluation.training.settings import TrainingPreset, Triple
from evaluation.training.store import PreparedIndex
from evaluation.training.tasks import Tasks
from evaluation.training.windows import Windows


class SegmentationModel(nn.Module, ABC):
    """A network with what it needs to learn and to predict.

    Attributes:
        preset: all settings, the model's own and the engine's.
        tasks: what its crops are asked for: `ClassTasks`, `LabelTasks`, or some of its own.
        skips_parameters: whether a batch may leave parameters without a gradient, such as the
            decoders of other entries.
        maps_per_prompt: window maps that one prompt takes at most while it is answered: by default
            the logit, its sigmoid, and the weighted probability.
    """

    preset: TrainingPreset
    tasks: Tasks
    skips_parameters: bool = False
    maps_per_prompt: int = 3

    @abstractmethod
    def loss(self, batch: Batch) -> StepLoss:
        """The loss of crops of one size, on the model's device."""

    @abstractmethod
    def answers(self, window: Any, prompts: Tensor) -> Tensor:
        """Probabilities (B, N, X, Y, Z), float32, of some windows for prompts (N, ...).

        `window` is what `windows` walks over, by default images (B, 1, X, Y, Z).
        """

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """All that a prediction needs, as tensors and plain values; the key `preset` is JSON."""

    def prompts(self, rows: Tensor, sequence: str | None = None) -> Tensor:  # noqa: ARG002
        """What `answers` takes for the rows (N,) of some tasks; by default the rows.

        Args:
            rows: of the tasks.
            sequence: of the scan that is asked about, for a model that tells sequences apart.
        """
        return rows

    def windows(
        self,
        volume: Tensor,
        window: Triple,
        on_window: Callable[[int, int], None] | None = None,  # noqa: ARG002
        *,
        walks: int = 1,  # noqa: ARG002
    ) -> Windows:
        """The walk over a volume (X, Y, Z); a model with costly features overrides it.

        Args:
            volume: at least as large as the window.
            window: voxels of a window.
            on_window: called with the number of windows prepared so far and of all windows; the
                plain walk has nothing to prepare.
            walks: how often all windows are walked over, once for every chunk of prompts; a single
                walk needs to keep nothing.
        """
        return Windows(volume, window, self.preset.inference, self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device


M = TypeVar("M", bound=SegmentationModel)


@dataclass(frozen=True)
class Start(Generic[M]):
    """How a training gets its model.

    Attributes:
        new: from the index of the store; random weights come from torch's own generator.
        restore: from what `content` gave, and the file that it stands in.
        made_from: what the weights depend on besides preset, seed and store, as JSON values, such
            as the digest of a text encoder; with another one, a training starts anew.
    """

    new: Callable[[PreparedIndex], M]
    restore: Callable[[Mapping[str, Any], Path], M]
    made_from: Callable[[], object] = lambda: None
