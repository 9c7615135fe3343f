"""Training steps of a preset on made-up crops, to learn how fast a machine is."""

from __future__ import annotations

import torch

from evaluation.config import RunConfig
from evaluation.training.crops import Batch
from evaluation.training.timing import time_steps
from evaluation.workflow.estimate import training_flops
from evaluation.workflow.speed import TimedStep
from sat.config import MODEL, Preset, load_preset
from sat.costs import forward_flops
from sat.model import SatModel
from sat.prompts.book import Key, PromptBook
from sat.prompts.choice import CLASS_ID_WIDTH

# Of a crop, where the preset does not limit them.
PROMPTS = 32


def timed_step(config: RunConfig) -> TimedStep | None:
    """Steps of the run's preset on this machine; None if it wants a GPU and there is none."""
    preset = load_preset(config.presets.get(MODEL))
    if preset.training.device == "cuda" and not torch.cuda.is_available():
        return None
    prompts = preset.training.sampling.max_prompts or PROMPTS
    flops = training_flops(forward_flops(preset.network, preset.training.patch, prompts))
    return time_training(preset, prompts, flops * preset.training.batch)


def time_training(preset: Preset, prompts: int, flops: float) -> TimedStep:
    """Steps of one process with whole patches.

    Args:
        preset: network, patch, batch and device.
        prompts: of each crop.
        flops: operations that are counted for a step.
    """
    generator = torch.Generator().manual_seed(0)
    keys: tuple[Key, ...] = tuple(("ct", f"class {k}") for k in range(prompts))
    book = PromptBook(keys, torch.randn(prompts, CLASS_ID_WIDTH, generator=generator))
    one = preset.training.model_copy(update={"processes": 1, "accumulate": 1})
    model = SatModel(preset.model_copy(update={"training": one}), book, {})
    shape = one.batch, prompts, *one.patch
    image = torch.randn(one.batch, 1, *one.patch, generator=generator)
    rows = torch.arange(prompts).expand(one.batch, -1)
    # A tenth of every crop belongs to each class.
    targets = torch.rand(shape, generator=generator) < 0.1
    batch = Batch(("timing",) * one.batch, image, targets, rows, torch.ones_like(rows) > 0)
    return time_steps(model, batch, flops)
