"""The learning rate of every training: a linear warm-up, then a cosine to zero."""

from __future__ import annotations

import math
from typing import Protocol


class Schedule(Protocol):
    """Settings of a training that say how fast it learns."""

    @property
    def steps(self) -> int:
        """Steps in all."""

    @property
    def warm_up(self) -> int:
        """Steps until the full rate."""

    @property
    def learning_rate(self) -> float:
        """The full rate."""


def learning_rate(step: int, training: Schedule) -> float:
    """Linear warm-up, then a cosine to zero over the remaining steps (paper, section 4.3)."""
    if step < training.warm_up:
        return training.learning_rate * (step + 1) / training.warm_up
    done = (step - training.warm_up) / max(1, training.steps - training.warm_up)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
