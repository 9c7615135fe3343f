"""One optimiser step: passes over this process's batches, one exchange of gradients, one update."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from evaluation.errors import BenchError
from sat.architecture.supervision import supervised_loss
from sat.model import SatModel
from sat.training.data import Batch
from sat.training.distributed import Team, turns_of
from sat.training.log import StepRow
from sat.training.losses import LossParts, prompt_separation
from sat.training.schedule import learning_rate


class Stepper:
    """Model and optimiser of a training, on this process's device.

    The loss of a step is the mean over its samples, and the processes have equally many: the
    mean of their gradients is the gradient of one process with all samples. Dropout is keyed by
    (seed, step, batch of the step), so the processes draw what one would draw in turns.

    Args:
        model: on its device, in training mode.
        team: the processes.
        seed: seed of the run.
        state: content of a resume point.
    """

    def __init__(
        self, model: SatModel, team: Team, seed: int, state: Mapping[str, Any] | None = None
    ) -> None:
        training, device = model.preset.training, model.device
        self._training, self._team, self._seed = training, team, seed
        self._turns = turns_of(training, team.size)
        self._embeddings = model.book.embeddings.to(device)
        self._device = device
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self._amp = training.mixed_precision and device.type == "cuda"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._amp)
        if state is not None:
            self._optimiser.load_state_dict(state["optimiser"])
            self._scaler.load_state_dict(state["scaler"])
        self._model = model
        self._shared: DistributedDataParallel | None = None
        if team.size > 1:
            devices = [device.index] if device.type == "cuda" else None
            self._shared = DistributedDataParallel(model, device_ids=devices)

    def state(self) -> dict[str, Any]:
        """What a resume point keeps of it besides the weights."""
        return {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def step(self, number: int, batches: Iterator[list[Batch]], *, log: bool) -> StepRow | None:
        """Do optimiser step `number` with the next batches; its row, if it is to be logged.

        Raises:
            BenchError: the loss is no longer a number, on all processes alike.
        """
        started, waited = time.monotonic(), 0.0
        rate = learning_rate(number, self._training)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        sums = torch.zeros(3, device=self._device)
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
                    logits, loss = self._forward(stack)
                    self._scaler.scale(loss.total * share).backward()
                sums += share * torch.stack([value.detach() for value in loss])
                datasets.update(stack.datasets)
        means = [float(value) for value in self._team.mean(sums)]
        if not math.isfinite(means[0]):
            raise BenchError(
                f"the loss is no longer a number at step {number}",
                hint="lower the learning rate, or set training.clip, in a preset of your own",
            )
        self._scaler.unscale_(self._optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._training.clip or math.inf)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if not log:
            return None
        slowest = max(self._team.gather(waited))
        separation, gradient = prompt_separation(logits), float(norm)
        seconds = time.monotonic() - started
        return StepRow(
            step=number,
            dataset=" ".join(sorted(datasets)),
            learning_rate=rate,
            loss=means[0],
            cross_entropy=means[1],
            dice=means[2],
            gradient_norm=gradient,
            prompt_separation=separation,
            data_seconds=round(slowest, 4),
            compute_seconds=round(seconds - slowest, 4),
            step_seconds=round(seconds, 4),
        )

    def _forward(self, batch: Batch) -> tuple[Tensor, LossParts]:
        image, prompts = (
            t.to(self._device, non_blocking=True) for t in (batch.image, batch.prompts)
        )
        targets, valid = (
            t.to(self._device, non_blocking=True) for t in (batch.targets, batch.valid)
        )
        with torch.autocast(self._device.type, torch.float16, enabled=self._amp):
            outputs = (self._shared or self._model)(image, self._embeddings, prompts)
            return supervised_loss(outputs, targets, valid, self._training.loss)

    def _exchange(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over the processes in the last pass of a step only."""
        if self._shared is None or last:
            return nullcontext()
        held_back: AbstractContextManager[None] = self._shared.no_sync()
        return held_back

    def _key(self, number: int, turn: int) -> int:
        batch = turn * self._team.size + self._team.rank
        digest = hashlib.sha256(f"dropout {self._seed} {number} {batch}".encode()).digest()
        return int.from_bytes(digest[:4], "little")
