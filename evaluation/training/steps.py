"""One optimiser step: passes over this process's batches, one exchange of gradients, one update."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from evaluation.errors import BenchError
from evaluation.training.crops import Batch
from evaluation.training.log import StepRow
from evaluation.training.losses import StepLoss, prompt_separation
from evaluation.training.model import SegmentationModel
from evaluation.training.optimisers import moving_average, new_optimiser, rate_at
from evaluation.training.processes import Team, turns_of


class _LossOf(nn.Module):
    """The loss as a module's call, which is what torch watches to exchange gradients."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> StepLoss:
        return self.model.loss(batch)


class Stepper:
    """Model and optimiser of a training, on this process's device.

    The loss of a step is the mean over its batches, and the processes have equally many: the
    mean of their gradients is the gradient of one process that does all batches in turns. Dropout
    is keyed by (seed, step, batch of the step), so the processes draw what one would draw.

    Args:
        model: on its device, in training mode.
        team: the processes.
        seed: seed of the run.
        state: content of a resume point.
    """

    def __init__(
        self,
        model: SegmentationModel,
        team: Team,
        seed: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        training, device = model.preset.training, model.device
        self._training, self._team, self._seed = training, team, seed
        self._turns = turns_of(training, team.size)
        self._device = device
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = new_optimiser(self._parameters, training)
        self._amp = training.mixed_precision and device.type == "cuda"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._amp)
        self._model = model
        self._average: AveragedModel | None = None
        if training.ema is not None:
            self._average = moving_average(model, training.ema)
        if state is not None:
            self._optimiser.load_state_dict(state["optimiser"])
            self._scaler.load_state_dict(state["scaler"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
        self._loss: nn.Module = _LossOf(model)
        if team.size > 1:
            self._loss = DistributedDataParallel(
                self._loss,
                device_ids=[device.index] if device.type == "cuda" else None,
                find_unused_parameters=model.skips_parameters,
            )

    @property
    def kept(self) -> SegmentationModel:
        """The model that is validated and kept: the moving average, or the one that learns."""
        if self._average is None:
            return self._model
        average = cast("SegmentationModel", self._average.module)
        average.preset = self._model.preset
        return average

    def state(self) -> dict[str, Any]:
        """What a resume point keeps of it besides the weights."""
        state = {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}
        if self._average is not None:
            state["average"] = self._average.state_dict()
        return state

    def step(self, number: int, batches: Iterator[list[Batch]], *, log: bool) -> StepRow | None:
        """Do optimiser step `number` with the next batches; its row, if it is to be logged.

        Raises:
            BenchError: the loss is no longer a number, on all processes alike.
        """
        started, waited = time.monotonic(), 0.0
        rate = rate_at(number, self._training)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        datasets: set[str] = set()
        for turn in range(self._turns):
            before = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - before
            torch.manual_seed(self._key(number, turn))
            for part, stack in enumerate(batch, start=1):
                share = len(stack.image) / (self._training.batch * self._turns)
                last = turn + 1 == self._turns and part == len(batch)
                with self._exchange(last):
                    with torch.autocast(self._device.type, torch.float16, enabled=self._amp):
                        loss: StepLoss = self._loss(stack.to(self._device))
                    self._scaler.scale(loss.total * share).backward()
                for name, value in {"loss": loss.total, **loss.parts}.items():
                    added = share * value.detach().float()
                    sums[name] = sums[name] + added if name in sums else added
                datasets.update(stack.datasets)
        means = self._team.mean(torch.stack(list(sums.values()))).tolist()
        parts = dict(zip(sums, means, strict=True))
        if not math.isfinite(parts["loss"]):
            raise BenchError(
                f"the loss is no longer a number at step {number}",
                hint="lower the learning rate, or set training.clip, in a preset of your own",
            )
        self._scaler.unscale_(self._optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._training.clip or math.inf)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self._model)
        if not log:
            return None
        slowest = max(self._team.gather(waited))
        separation, gradient = prompt_separation(loss.logits), float(norm)
        seconds = time.monotonic() - started
        return StepRow(
            step=number,
            dataset=" ".join(sorted(datasets)),
            learning_rate=rate,
            parts=parts,
            gradient_norm=gradient,
            prompt_separation=separation,
            data_seconds=round(slowest, 4),
            compute_seconds=round(seconds - slowest, 4),
            step_seconds=round(seconds, 4),
        )

    def _exchange(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the processes in the last pass of a step only."""
        if not isinstance(self._loss, DistributedDataParallel) or last:
            return nullcontext()
        held_back: AbstractContextManager[None] = self._loss.no_sync()
        return held_back

    def _key(self, number: int, turn: int) -> int:
        batch = turn * self._team.size + self._team.rank
        digest = hashlib.sha256(f"dropout {self._seed} {number} {batch}".encode()).digest()
        return int.from_bytes(digest[:4], "little")
