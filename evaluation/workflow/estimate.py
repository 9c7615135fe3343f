"""What a run will cost: GPU hours, CPU hours, disk and wall time, before anyone starts.

Every assumption is a named constant with its origin; they are on the high side. What a model costs,
the model says itself, in the module `costs` beside its adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.models.card import ModelCard, find_model, function_of
from evaluation.workflow.loads import Load, run_loads

# --- Speed, in CPU seconds of one thread -------------------------------------------------------
# Writing a volume took 44 ns, reading 5 ns a voxel (noise-like int16, one thread of a shared
# Xeon); standardising reads and writes image and labels and checks them: three times that.
STANDARDISE_SECONDS_PER_VOXEL = 150e-9
# A full-size pair (105 million voxels, about 100 classes) took 0.55 s with the numba engine and
# 0.17 s to read; surfaces of poor predictions, and the resampled space, are slower: four times.
MEASURE_SECONDS_PER_VOXEL = 28e-9
# scipy's spline zoom of order 3 took 286 ns for each voxel of the result on the same machine.
RESAMPLE_SECONDS_PER_VOXEL = 300e-9
# One process with its imports costs 4 to 10 CPU seconds.
SECONDS_PER_JOB = 10.0
COHORT_SECONDS_PER_PATIENT = 2.5  # a virtual torso; most of it ribs

# --- Speed of training and inference -----------------------------------------------------------
# One training iteration of nnU-Net on MSD Hippocampus (5.6 M weights, patch 40 x 56 x 40, batch 7,
# float32) took 12.5 CPU seconds, for which 0.80e12 operations are counted.
CPU_FLOPS = 64e9
# A residual U-Net's forward pass over 2 x 128^3 voxels took 0.13 s on an A100 (published), and
# 16 x 3.8 s, scaled from 64^3, on one thread of that Xeon: 468 threads to one A100.
THREADS_PER_GPU = 468
# Data loading, validation, small kernels: half of the time the GPU computes (assumption).
GPU_BUSY = 0.5
GPU_FLOPS = CPU_FLOPS * THREADS_PER_GPU * GPU_BUSY
GPU_NAME = "A100-class GPU"

# --- Disk ---------------------------------------------------------------------------------------
# The noise-like volume above took 1.4 bytes a voxel compressed; labels compress to little.
CASE_BYTES_PER_VOXEL = 1.6
PREDICTION_BYTES_PER_VOXEL = 0.1  # a label layer, compressed (assumption)
TABLE_BYTES = 200e6  # scores, tables, report (assumption)

STAGES = ("cohort", "standardise", "prepare", "train", "predict", "measure", "tables")


@dataclass(frozen=True)
class Work:
    """One kind of job: `jobs` alike, each with these totals of seconds and the bytes it leaves.

    `cpu_seconds` are of one thread. A job on a GPU takes `gpu_seconds` of wall time, less where
    up to `gpus` of them share it.
    """

    stage: str
    model: str
    unit: str
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    disk_bytes: float = 0.0
    jobs: int = 1
    gpus: int = 1

    def wall_seconds(self, gpus: int) -> float:
        """Of one of the jobs, with so many GPUs at hand."""
        shared = self.gpu_seconds / max(1, min(self.gpus, gpus))
        return max(shared, self.cpu_seconds) / self.jobs


def compute_work(
    model: str,
    stage: str,
    unit: str,
    flops: float,
    cpu_seconds: float,
    on_gpu: bool,
    disk_bytes: float,
    jobs: int,
) -> Work:
    """Work of a network: its operations on a GPU or a CPU thread, and what the CPU does besides.

    What the processor does between two windows keeps the GPU waiting.
    """
    gpu = flops / GPU_FLOPS + cpu_seconds if on_gpu else 0.0
    seconds = cpu_seconds if on_gpu else cpu_seconds + flops / CPU_FLOPS
    return Work(stage, model, unit, gpu, seconds, disk_bytes, jobs)


@dataclass(frozen=True)
class ModelCost:
    """What a model says of itself: its work, and its row of the cost table."""

    work: tuple[Work, ...]
    networks: int
    parameters: float
    device: str


class ModelCosts(Protocol):
    """The function `model_cost` in a model's module `costs`."""

    def __call__(self, model: str, config: RunConfig, loads: Sequence[Load]) -> ModelCost:
        """The cost of the model of this id in a run."""


@dataclass(frozen=True)
class StageCost:
    """One line of the plan; hours of GPU and of one CPU thread, wall hours, GiB."""

    stage: str
    jobs: int
    gpu_hours: float
    cpu_hours: float
    longest_job_hours: float
    wall_hours: float
    disk_gib: float


@dataclass(frozen=True)
class Estimate:
    """The plan of a run."""

    stages: tuple[StageCost, ...]
    models: dict[str, ModelCost]
    loads: tuple[Load, ...]
    measured_sizes: int
    gpus: int
    cores: int

    @property
    def total(self) -> StageCost:
        """All stages one after another."""
        return StageCost(
            "total",
            sum(s.jobs for s in self.stages),
            sum(s.gpu_hours for s in self.stages),
            sum(s.cpu_hours for s in self.stages),
            max(s.longest_job_hours for s in self.stages),
            sum(s.wall_hours for s in self.stages),
            sum(s.disk_gib for s in self.stages),
        )


def training_flops(forward: float) -> float:
    """A training step: forward, and twice that for the gradients of features and weights.

    PyTorch's counter finds 2.97 to 3.00 forward passes in a step of each of our networks.
    """
    return 3 * forward


def windows(voxels: float, patch: Sequence[int], overlap: float = 0.5) -> float:
    """Sliding windows over a scan, at least one."""
    return max(1.0, voxels / (prod(patch) * (1 - overlap) ** 3))


def common_work(config: RunConfig, loads: Sequence[Load]) -> list[Work]:
    """Data, scores and tables: what no model pays for."""
    work = []
    if config.cohort is not None:
        patients = config.cohort.patients * len(loads)
        work.append(Work("cohort", "", "", cpu_seconds=patients * COHORT_SECONDS_PER_PATIENT))
    spaces = len(config.space)
    for load in loads:
        voxels = (load.n_train + load.n_test) * load.voxels
        seconds = voxels * STANDARDISE_SECONDS_PER_VOXEL + load.shards * SECONDS_PER_JOB
        size = voxels * CASE_BYTES_PER_VOXEL
        dataset = load.card.id
        work.append(Work("standardise", "", dataset, 0.0, seconds, size, load.shards))
        for model in config.models:
            voxels = load.n_test * load.voxels * spaces
            seconds = voxels * MEASURE_SECONDS_PER_VOXEL + load.test_shards * SECONDS_PER_JOB
            work.append(Work("measure", model, dataset, 0.0, seconds, 0.0, load.test_shards))
    work.append(Work("tables", "", "", 0.0, 60.0 * len(config.models), TABLE_BYTES, 3))
    return work


def cost_of(card: ModelCard, config: RunConfig, loads: Sequence[Load]) -> ModelCost:
    """What a model costs; a model without a module `costs` costs reading and writing.

    Raises:
        BenchError: what its network is counted with is not installed.
    """
    say: ModelCosts | None = function_of(card, "costs", "model_cost")
    if say is not None:
        try:
            return say(card.id, config, loads)
        except ImportError as error:
            raise BenchError(
                f"the cost of `{card.id}` is counted on its network, which cannot be built here",
                found=error,
                hint="install the extra that the model is trained with (pip install "
                "'satbench[sat]' or 'satbench[nnunet]'), or plan without the model",
            ) from error
    work = []
    for load in loads:
        voxels = load.n_test * load.voxels
        seconds = voxels * STANDARDISE_SECONDS_PER_VOXEL + load.test_shards * SECONDS_PER_JOB
        size = voxels * PREDICTION_BYTES_PER_VOXEL
        work.append(Work("predict", card.id, load.card.id, 0.0, seconds, size, load.test_shards))
    parameters = float("nan") if card.parameters is None else float(card.parameters)
    return ModelCost(tuple(work), 0, parameters, "not estimated" if card.gpu else "CPU")


def estimate(config: RunConfig, entries: Sequence[str], *, gpus: int, cores: int) -> Estimate:
    """The cost of a run on `gpus` GPUs and `cores` CPU cores, each stage after the other.

    Raises:
        BenchError: an unknown entry, model or preset.
    """
    loads, measured = run_loads(config, entries)
    models = {name: cost_of(find_model(name), config, loads) for name in config.models}
    work = common_work(config, loads) + [w for cost in models.values() for w in cost.work]
    stages = [_stage(stage, work, gpus, cores) for stage in STAGES]
    found = tuple(stage for stage in stages if stage.jobs)
    return Estimate(found, models, tuple(loads), measured, gpus, cores)


def _stage(stage: str, work: Sequence[Work], gpus: int, cores: int) -> StageCost:
    parts = [w for w in work if w.stage == stage]
    gpu = sum(w.gpu_seconds for w in parts)
    cpu = sum(w.cpu_seconds for w in parts)
    longest = max((w.wall_seconds(gpus) for w in parts), default=0.0)
    wall = max(gpu / max(gpus, 1), cpu / max(cores, 1), longest)
    return StageCost(
        stage,
        sum(w.jobs for w in parts),
        gpu / 3600,
        cpu / 3600,
        longest / 3600,
        wall / 3600,
        sum(w.disk_bytes for w in parts) / 2**30,
    )
