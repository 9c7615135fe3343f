"""Stages that joint networks share: the prepared store of their grid, and the training.

Planning imports this, so torch is loaded only by what a stage does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.datasets.registry import find_card
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Granted, Resources, Stage
from evaluation.training.known_entries import require_known_entries
from evaluation.training.settings import TrainingPreset
from evaluation.training.store import FORMAT, INDEX_FILE, store_folder
from evaluation.workflow.digests import scope_digest

if TYPE_CHECKING:
    from evaluation.training.train import Trained

GPU_THREADS = 8
PREPARE_THREADS = 8
PREPARE_MEM_MB = 6_000
"""Of each: a CT of 512 x 512 x 700 as float32 with its coordinates of one large class."""
DRAWS = 2
"""Version of crops that lie anywhere: raised when the same cases and settings draw others.

Planning cannot know whether a case shows nothing, so that the jobs of all trainings with such crops
run again. One whose own draws are the old ones has the same identity (`identity_of`): its job finds
the last step done and writes the same checkpoint.
"""
PRIORITY = 20
"""The longest single jobs of a run should start first."""

Train = Callable[[Path, Path], "Trained"]
"""Trains in the folder of the training from a prepared store, as one process or one of several."""


def prepare_stage(run: ModelContext, preset: TrainingPreset) -> Stage:
    """The store of the preset's grid; models with equal grids state the same stage."""
    return Stage(
        "prepare",
        store_folder(run.paths, preset.grid) / INDEX_FILE,
        partial(_prepare, run, preset),
        (FORMAT, preset.grid, *(scope_digest(find_card(d), run.config) for d in run.entries)),
        needs=tuple(map(run.paths.split, run.entries)),
        resources=prepare_resources(preset),
        priority=PRIORITY,
    )


def prepare_resources(preset: TrainingPreset) -> Resources:
    """Of a job that puts cases on the preset's grid; it goes on with the next case."""
    threads = prepare_threads(preset)
    return Resources(
        threads, mem_mb=max(16_000, PREPARE_MEM_MB * threads), runtime_min=720, goes_on=True
    )


def prepare_threads(preset: TrainingPreset) -> int:
    """Processes that prepare cases side by side: few for presets of a CPU, which are small."""
    return PREPARE_THREADS if preset.training.device == "cuda" else 1


def train_stage(
    run: ModelContext,
    preset: TrainingPreset,
    train: Train,
    settings: Sequence[object],
    needs: Sequence[Stage],
    entry: str | None = None,
) -> Stage:
    """One joint training on all entries, or on one, which goes on where a killed one stopped.

    Args:
        run: of the model.
        preset: whose `training` says on which device and on how many processes.
        train: what trains; called in every process.
        settings: what the training depends on besides the files of `needs`.
        needs: stages that come before.
        entry: the only one that it is about, in a folder of its own below the model's; none: all.

    Raises:
        BenchError: the preset names a dataset that there is not.
    """
    require_known_entries(preset)
    training = preset.training
    work = run.work if entry is None else run.work / entry
    gpus = training.processes if training.device == "cuda" else 0
    # On GPUs: crops read ahead, by eight workers for each with two batches each.
    mem_mb = max(64_000, 32_000 * gpus) if gpus else 4_000 * training.processes
    draws = [("draws", DRAWS)] if training.sampling.foreground_p < 1 else []
    threads = (GPU_THREADS if gpus else 1) * training.processes
    return Stage(
        "train",
        work / "checkpoint.pt",
        partial(_train, run, preset, train, entry),
        (*settings, *draws),
        needs=tuple(stage.output for stage in needs),
        unit=entry or "",
        predicts=run.entries if entry is None else (entry,),
        resources=training_resources(gpus, threads, mem_mb, days=7),
        priority=PRIORITY,
    )


def training_resources(gpus: int, threads: int, mem_mb: int, days: int) -> Resources:
    """On a CPU, for small presets, two hours."""
    minutes = days * 24 * 60 if gpus else 120
    return Resources(threads, gpus, mem_mb=mem_mb, runtime_min=minutes, goes_on=True)


def _prepare(run: ModelContext, preset: TrainingPreset, granted: Granted) -> str:
    from evaluation.training.prepare import prepare_run

    index = prepare_run(run.paths, run.config, preset.grid, jobs=granted.threads)
    cases = sum(len(entry.cases) for entry in index.entries)
    classes = sum(len(entry.classes) for entry in index.entries)
    return f"{cases} cases of {len(index.entries)} entries prepared, {classes} classes"


def _train(
    run: ModelContext, preset: TrainingPreset, train: Train, entry: str | None, granted: Granted
) -> str | None:
    """Several processes share each step; started by torchrun, this is one of them."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        on_gpu = preset.training.device == "cuda"
        processes = granted.processes or (granted.gpus if on_gpu else preset.training.processes)
        if processes > 1:
            from evaluation.training.launch import launch

            threads = max(1, granted.threads // max(1, processes // granted.nodes))
            threads = min(threads, GPU_THREADS) if on_gpu else threads
            program = [
                sys.argv[0], "train", "--run", str(run.paths.root), "--model", run.model,
                "--stage", "train", "--unit", entry or "", "--threads", str(threads),
            ]  # fmt: skip
            launch(program, processes, granted.nodes, threads)
            return None
    import torch

    from evaluation.training.processes import team_of_environment

    team = team_of_environment()
    torch.set_num_threads(granted.threads)
    work = run.work if entry is None else run.work / entry
    result = train(work, store_folder(run.paths, preset.grid))
    if not team.leads:
        return None
    spent = f"{result.steps_now} steps in {result.seconds:.0f} s"
    what = " ".join(filter(None, (preset.name or run.model, entry)))
    return f"{what}: {spent}, {result.checkpoint}"
