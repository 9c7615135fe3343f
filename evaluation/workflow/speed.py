"""How fast machines are, for the plan: assumed of a GPU that is named, or measured on this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.models.card import find_model, function_of

# One training iteration of nnU-Net on MSD Hippocampus (5.6 M weights, patch 40 x 56 x 40, batch 7,
# float32) took 12.5 CPU seconds, for which 0.80e12 operations are counted.
CPU_FLOPS = 64e9
# A training step of the paper's SAT-Nano on one GPU (two crops of 288 x 288 x 96, 32 prompts, mixed
# precision) counts 55.5e12 operations and took 0.40 s on an H200.
H200_FLOPS = 139e12
# Dense half-precision peaks as published: 312 TFLOP/s of an A100, 989 of an H200.
A100_PART = 312 / 989
# Validation, small kernels, exchange of gradients: half of the time the GPU computes (assumption).
GPU_BUSY = 0.5
GPU_FLOPS = H200_FLOPS * A100_PART * GPU_BUSY
GPU_NAME = "one A100"


@dataclass(frozen=True)
class Speed:
    """Operations a second that the plan reckons with.

    Attributes:
        gpu_flops: of one GPU.
        cpu_flops: of one CPU thread.
        gpu: what the GPU is called.
        origin: where the numbers come from.
    """

    gpu_flops: float = GPU_FLOPS
    cpu_flops: float = CPU_FLOPS
    gpu: str = GPU_NAME
    origin: str = (
        "assumed: half of what a training step of SAT-Nano reaches on an H200, by the peaks of "
        "both; an H200 does 139 TFLOP/s, 0.40 s instead of "
        f"{55.5e12 / GPU_FLOPS:.1f} s for that step; `--calibrate` measures this machine"
    )


ASSUMED = Speed()


@dataclass(frozen=True)
class TimedStep:
    """A training step as it was timed on this machine.

    Attributes:
        flops: operations that are counted for it.
        seconds: wall time.
        on_gpu: whether a GPU did it; otherwise `threads` of a CPU.
        device: what it ran on, such as `NVIDIA H200`.
        steps: how many were timed.
        threads: of the CPU.
    """

    flops: float
    seconds: float
    on_gpu: bool
    device: str
    steps: int
    threads: int = 1


def speed_of(timed: TimedStep, model: str) -> Speed:
    """The plan's speed with what was measured in the place of what was assumed."""
    rate = timed.flops / timed.seconds
    origin = (
        f"measured here on {timed.device}: {timed.seconds:.3g} s for a training step of {model}, "
        f"the median of {timed.steps}"
    )
    if timed.on_gpu:
        return Speed(gpu_flops=rate, gpu=timed.device, origin=origin)
    return Speed(
        cpu_flops=rate / timed.threads, origin=f"{origin}; {ASSUMED.gpu} is {ASSUMED.origin}"
    )


def measured_speed(config: RunConfig) -> Speed:
    """The speed of this machine, by the first of the run's models that can be timed here.

    Raises:
        BenchError: none can.
    """
    for model in config.models:
        time: Callable[[RunConfig], TimedStep | None] | None = function_of(
            find_model(model), "timing", "timed_step"
        )
        timed = None if time is None else time(config)
        if timed is not None:
            return speed_of(timed, model)
    raise BenchError(
        "no training step of this run can be timed here",
        found="no model with a module `timing`, or its preset wants a GPU and torch sees none",
        hint="calibrate on a machine with the GPU; elsewhere give --gpu-tflops what it said",
    )


def stated_speed(gpu_tflops: float) -> Speed:
    """A GPU of so many TFLOP/s, as the user says."""
    return Speed(gpu_tflops * 1e12, gpu="the GPU of --gpu-tflops", origin="as stated")
