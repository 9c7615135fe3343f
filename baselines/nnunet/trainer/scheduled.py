"""A trainer for budgets that a CPU can pay, with an exact resume.

nnU-Net finds the class by name in this folder. What it changes is read from a JSON file (the
preset's `schedule`): length, optimiser, mirroring. Network, loss, deep supervision, sampling and
the other augmentations are nnU-Net's own.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from baselines.nnunet.process import SETTINGS


class ScheduledTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with a schedule of ours.

    All random numbers of an epoch follow from (seed, epoch). A training on a CPU that was killed
    and resumed therefore ends with the same weights, bit for bit, as one that was not.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        path = Path(os.environ[SETTINGS])
        self.settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.num_epochs = self.settings["epochs"]
        self.num_iterations_per_epoch = self.settings["iterations_per_epoch"]
        self.num_val_iterations_per_epoch = self.settings["validation_iterations"]
        self.save_every = self.settings["save_every"]
        self.initial_lr = self.settings["learning_rate"]
        self.weight_decay = self.settings["weight_decay"]

    def initialize(self) -> None:
        """Build the network from seeded weights."""
        self._seed(-1)
        super().initialize()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """AdamW or nnU-Net's SGD; the learning rate falls polynomially over all epochs."""
        if self.settings["optimiser"] == "sgd":
            optimiser, schedule = super().configure_optimizers()
            return optimiser, schedule
        weights = self.network.parameters()
        adamw = torch.optim.AdamW(weights, self.initial_lr, weight_decay=self.weight_decay)
        return adamw, PolyLRScheduler(adamw, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:  # noqa: N802
        """As nnU-Net; without mirroring, prediction must not mirror either."""
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if not self.settings["mirroring"]:
            mirror_axes = None
            self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, mirror_axes

    def on_train_start(self) -> None:
        """As nnU-Net, without the progress picture, which takes longer than a short epoch."""
        super().on_train_start()
        self.logger.plot_progress_png = lambda _folder: None

    def on_epoch_start(self) -> None:
        """Seed everything that draws random numbers from (seed, epoch)."""
        self._seed(self.current_epoch)
        super().on_epoch_start()

    def save_checkpoint(self, filename: str) -> None:
        """Keep the resume point and the final weights, not the best epoch on training cases."""
        if not filename.endswith("checkpoint_best.pth"):
            super().save_checkpoint(filename)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Nothing for fold `all`: it would predict every training case."""
        if self.fold != "all":
            super().perform_actual_validation(save_probabilities)

    def _seed(self, epoch: int) -> None:
        words = np.random.SeedSequence([self.settings["seed"], epoch + 1]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))  # noqa: NPY002 - nnU-Net draws from the global generator
        torch.manual_seed(int(words[2]))
