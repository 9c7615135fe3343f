"""A specialist of a run: where it lives, how it is trained, and when its work is out of date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from baselines.nnunet.config import NnunetPreset, load_preset
from baselines.nnunet.export import dataset_name, slice_order
from baselines.nnunet.plans import CONFIGURATION, PLANS_NAME
from baselines.nnunet.specialists import SpecialistPlan, find_specialist
from evaluation.cases import CaseRecord
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.files.identity import digest
from evaluation.models.presets import preset_in_use
from evaluation.paths import RunPaths
from evaluation.volumes.axes import AS_STORED
from evaluation.workflow.gpu import require_gpu

MODEL = "nnunet"
STOCK_TRAINER = "nnUNetTrainer"
SCHEDULED_TRAINER = "ScheduledTrainer"
VERSION = 1
"""Raised when the same cases are exported in another way."""


@dataclass(frozen=True)
class Job:
    """A specialist of a run and where it lives."""

    paths: RunPaths
    config: RunConfig
    card: DatasetCard
    plan: SpecialistPlan
    preset: NnunetPreset
    folder: Path

    @property
    def unit_spacing(self) -> bool:
        """Whether nnU-Net's copies of the scans get a spacing of 1 mm."""
        pinned = self.plan.pinned
        return self.preset.mode == "pinned" and pinned is not None and pinned.unit_spacing

    @property
    def trainer(self) -> str:
        """Name of the trainer class."""
        return STOCK_TRAINER if self.preset.schedule is None else SCHEDULED_TRAINER

    @property
    def model_folder(self) -> Path:
        """nnU-Net's folder of the trained model."""
        name = f"{self.trainer}__{PLANS_NAME}__{CONFIGURATION}"
        return self.folder / "trained" / dataset_name(self.plan) / name

    def checkpoint(self, fold: int | str) -> Path:
        """Final checkpoint of a fold; it exists only after the last epoch."""
        return self.model_folder / f"fold_{fold}" / "checkpoint_final.pth"


def find_job(run: Path, specialist: str) -> Job:
    """A specialist of a run.

    Raises:
        BenchError: no such run, specialist or preset.
    """
    config = load_frozen(run)
    paths = RunPaths(run)
    card, plan = find_specialist(specialist, config)
    preset = load_preset(preset_in_use(paths, config, MODEL))
    return Job(paths, config, card, plan, preset, paths.model_run(MODEL) / specialist)


def training_settings(job: Job) -> dict[str, Any]:
    """What the scheduled trainer reads; empty for nnU-Net's own trainer."""
    schedule = job.preset.schedule
    if schedule is None:
        return {}
    settings = schedule.model_dump(mode="json", exclude={"base", "per_class", "at_least"})
    return settings | {"epochs": schedule.epochs(len(job.plan.leaves)), "seed": job.config.seed}


def choose_device(preset: NnunetPreset, asked: str) -> str:
    """`cpu` or `cuda`; a GPU that is not there is an error at once, not after hours in a queue.

    Raises:
        BenchError: CUDA is asked for, by the preset or by the command, and torch sees none.
    """
    wanted = preset.device if asked == "auto" else asked
    if wanted == "cpu":
        return "cpu"
    if wanted == "cuda":
        require_gpu()
        return "cuda"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def prepared_from(job: Job, records: Sequence[CaseRecord]) -> str:
    """What nnU-Net's prepared data are made from: cases, leaf labels, and how it is planned."""
    content = [[record.case, record.image, record.labels] for record in records]
    content += [
        [record.case, order] for record in records if (order := slice_order(record)) != AS_STORED
    ]
    leaves = [{**asdict(leaf), "classes": sorted(leaf.classes)} for leaf in job.plan.leaves]
    planning = job.preset.model_dump(mode="json", include={"mode", "network"})
    pinned = asdict(job.plan.pinned) if job.preset.mode == "pinned" and job.plan.pinned else None
    return digest(VERSION, content, leaves, planning, pinned, job.unit_spacing)


def training_digest(job: Job, prepared: dict[str, Any]) -> str:
    """Changes when a training that was begun can no longer be continued.

    The seed counts also where nnU-Net's own trainer, which is not seeded, learns: another seed
    asks for another training.
    """
    return digest(prepared["digest"], training_settings(job), job.trainer, job.config.seed)


def versions() -> dict[str, str]:
    """Versions of what decides a training's result."""
    return {name: version(name) for name in ("nnunetv2", "torch", "numpy")}
