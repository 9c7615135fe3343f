"""What a training of the engine will take, for the plan: what its network computes, and reading."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from evaluation.training.settings import Training
from evaluation.workflow.estimate import Work, compute_work

# Reading and changing a crop of 288 x 288 x 96 with the masks of 32 classes took 1.18 CPU seconds.
CROP_SECONDS_PER_VOXEL = 1.18 / (288 * 288 * 96)


def training_work(
    model: str,
    training: Training,
    crop_flops: float,
    crops: float,
    processes: int,
    disk_bytes: float,
    *,
    job: str = "",
) -> Work:
    """The work of a training stage.

    Args:
        model: id.
        training: device, patch, and how many processes read crops ahead.
        crop_flops: operations of a training step for each of its crops.
        crops: of the whole training, of all processes together.
        processes: that share it, one a GPU.
        disk_bytes: that it leaves.
        job: name of the stage, if it is not `train`.
    """
    on_gpu = training.device == "cuda"
    reading = crops * prod(training.patch) * CROP_SECONDS_PER_VOXEL
    # Without processes that read ahead, the GPU waits for every crop.
    waits = 0.0 if on_gpu and training.workers else reading
    flops = crops * crop_flops
    work = compute_work(model, "train", "", flops, waits, on_gpu, disk_bytes, 1)
    if not on_gpu:
        return replace(work, job=job)
    return replace(
        work, cpu_seconds=reading, threads=max(1, training.workers), gpus=processes, job=job
    )
