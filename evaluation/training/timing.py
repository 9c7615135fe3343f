"""How long a training step of a network takes on this machine."""

from __future__ import annotations

import platform
from statistics import median

import torch

from evaluation.training.crops import Batch
from evaluation.training.model import SegmentationModel
from evaluation.training.processes import Team, check_device
from evaluation.training.steps import Stepper
from evaluation.workflow.speed import TimedStep

WARM_UP, TIMED = 2, 5


def time_steps(model: SegmentationModel, batch: Batch, flops: float) -> TimedStep:
    """Time optimiser steps of one process as a training does them, crops at hand.

    Args:
        model: new; its preset takes one batch in a step.
        batch: of crops, taken again in every step.
        flops: operations that are counted for such a step.

    Raises:
        BenchError: no GPU where the preset wants one.
    """
    training = model.preset.training
    device = check_device(training)
    stepper = Stepper(model.to(device).train(), Team(), seed=0)
    rows = [stepper.step(number, iter([[batch]]), log=True) for number in range(WARM_UP + TIMED)]
    seconds = median(row.step_seconds for row in rows[WARM_UP:] if row is not None)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"this CPU ({platform.machine()})"
    return TimedStep(flops, seconds, on_gpu, name, TIMED, torch.get_num_threads())
