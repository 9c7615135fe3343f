"""Optimiser, learning rate and moving average, by their names in the settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from evaluation.training.lamb import Lamb
from evaluation.training.settings import Training


def new_optimiser(parameters: Iterable[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """The optimiser of a training; a new name is a new branch here and in `Training`."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        nesterov = training.momentum > 0  # torch refuses it without momentum
        return torch.optim.SGD(
            parameters, rate, training.momentum, weight_decay=decay, nesterov=nesterov
        )
    if training.optimiser == "lamb":
        return Lamb(parameters, rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def learning_rate(
    step: int,
    full: float,
    steps: int,
    warm_up: int,
    schedule: str = "cosine",
    power: float = 0.9,
    warm_up_form: str = "linear",
) -> float:
    """Warm-up, then the schedule over the remaining steps.

    Args:
        step: from 0.
        full: the rate at the end of the warm-up.
        steps: of the whole training.
        warm_up: steps until the full rate.
        schedule: `cosine` to zero (SAT's paper, section 4.3), `poly`: (1 - part done) ^ power, or
            `constant`.
        power: of `poly`.
        warm_up_form: `linear` rise, or `exponential`: full e^(10 (step / warm_up - 1)).
    """
    if step < warm_up and warm_up_form == "exponential":
        return full * math.exp(10 * (step / warm_up - 1))
    if step < warm_up:
        return full * (step + 1) / warm_up
    if schedule == "constant":
        return full
    done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    if schedule == "poly":
        return full * math.pow(1 - done, power)
    return full * 0.5 * (1 + math.cos(math.pi * done))


def rate_at(step: int, training: Training) -> float:
    """The learning rate of a step of a training."""
    return learning_rate(
        step,
        training.learning_rate,
        training.steps,
        training.warm_up,
        training.schedule,
        training.power,
        training.warm_up_form,
    )


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of a model that follows its weights: a <- d a + (1 - d) w after every update.

    d = min(1 - 1 / n, decay) after n updates, so that the random start is soon forgotten (as
    published with Hermes). Buffers are copied.
    """

    def follow(averages: Any, weights: Any, updates: Tensor | int) -> None:
        # `updates` are those before this one; the first copies the weights.
        torch._foreach_lerp_(averages, weights, max(1 / (int(updates) + 1), 1 - decay))

    return AveragedModel(model, multi_avg_fn=follow)
