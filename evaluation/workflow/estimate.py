"""What a run will cost: GPU hours, CPU hours, disk and wall time, before anyone starts.

Every assumption is a named constant with its origin; they are on the high side. What a model costs,
the model says itself, in the module `costs` beside its adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.models.card import ModelCard, find_model, function_of
from evaluation.workflow.loads import Load, run_loads
from evaluation.workflow.speed import ASSUMED, CPU_FLOPS, GPU_FLOPS, Speed
from evaluation.workflow.speed import GPU_NAME as GPU_NAME

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

# --- Disk ---------------------------------------------------------------------------------------
# The noise-like volume above took 1.4 bytes a voxel compressed; labels compress to little.
CASE_BYTES_PER_VOXEL = 1.6
PREDICTION_BYTES_PER_VOXEL = 0.1  # a label layer, compressed (assumption)
TABLE_BYTES = 200e6  # scores, tables, report (assumption)

STAGES = ("cohort", "standardise", "prepare", "train", "predict", "measure", "tables")


@dataclass(frozen=True)
class Work:
    """One kind of job: `jobs` alike, each with these totals of seconds and the bytes it leaves.

    Attributes:
        unit: on which part of the work, such as an entry or a specialist.
        gpu_seconds: wall time of the job on one GPU; less where up to `gpus` of them share it.
        cpu_seconds: of one thread.
        threads: that share `cpu_seconds`, for each GPU where there are several.
        flops: operations that are in the seconds, at the assumed speed.
        job: name of the model's stage that does it, if it is not called as the step is.
        shared: name of what it makes, if several models may use it; it is made once.
    """

    stage: str
    model: str
    unit: str
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    disk_bytes: float = 0.0
    jobs: int = 1
    gpus: int = 1
    threads: int = 1
    flops: float = 0.0
    job: str = ""
    shared: str = ""

    @property
    def title(self) -> str:
        """`sat-nano/train`, `nnunet/train/acdc`: how the workflow calls a model's stage."""
        return "/".join(filter(None, (self.model, self.job or self.stage, self.unit)))

    @property
    def held_gpu_seconds(self) -> float:
        """How long its GPUs are held together: what reads for them may be slower than they are."""
        return max(self.gpu_seconds, self.cpu_seconds / self.threads) if self.gpu_seconds else 0.0

    def wall_seconds(self, gpus: int) -> float:
        """Of one of the jobs, with so many GPUs at hand."""
        devices = max(1, min(self.gpus, gpus))
        busy = max(self.gpu_seconds, self.cpu_seconds / self.threads)
        return busy / devices / self.jobs

    def at(self, speed: Speed) -> Work:
        """The same on machines of another speed than the assumed one."""
        if self.gpu_seconds:
            more = self.flops / speed.gpu_flops - self.flops / GPU_FLOPS
            return replace(self, gpu_seconds=self.gpu_seconds + more)
        more = self.flops / speed.cpu_flops - self.flops / CPU_FLOPS
        return replace(self, cpu_seconds=self.cpu_seconds + more)


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
    return Work(stage, model, unit, gpu, seconds, disk_bytes, jobs, flops=flops)


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
    speed: Speed
    common: tuple[Work, ...]

    @property
    def work(self) -> tuple[Work, ...]:
        """All kinds of jobs."""
        return tuple(_once([*self.common, *_of_models(self.models)]))

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


def estimate(
    config: RunConfig, entries: Sequence[str], *, gpus: int, cores: int, speed: Speed = ASSUMED
) -> Estimate:
    """The cost of a run on `gpus` GPUs and `cores` CPU cores, each stage after the other.

    Args:
        config: of the run.
        entries: those that run.
        gpus: at hand at once.
        cores: the same of CPUs.
        speed: of the machines.

    Raises:
        BenchError: an unknown entry, model or preset.
    """
    loads, measured = run_loads(config, entries)
    models = {name: _at(cost_of(find_model(name), config, loads), speed) for name in config.models}
    common = tuple(common_work(config, loads))
    work = _once([*common, *_of_models(models)])
    stages = [_stage(stage, work, gpus, cores) for stage in STAGES]
    found = tuple(stage for stage in stages if stage.jobs)
    return Estimate(found, models, tuple(loads), measured, gpus, cores, speed, common)


def _of_models(models: Mapping[str, ModelCost]) -> list[Work]:
    return [work for cost in models.values() for work in cost.work]


def _once(work: Sequence[Work]) -> list[Work]:
    """The work without what another model has done already: a store of one grid."""
    first = {w.shared: w for w in reversed(work)}
    return [w for w in work if not w.shared or first[w.shared] is w]


def _at(cost: ModelCost, speed: Speed) -> ModelCost:
    work = tuple(w.at(speed) for w in cost.work)
    device = speed.gpu if any(w.gpu_seconds for w in work) else cost.device
    return replace(cost, work=work, device=device)


def _stage(stage: str, work: Sequence[Work], gpus: int, cores: int) -> StageCost:
    parts = [w for w in work if w.stage == stage]
    gpu = sum(w.held_gpu_seconds for w in parts)
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
