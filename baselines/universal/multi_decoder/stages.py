"""The stages of a multi-decoder network in a run: its cases on its own grid, then the training."""

from __future__ import annotations

from functools import partial

from baselines.universal.multi_decoder.config import Preset, load_preset
from evaluation.datasets.registry import find_card
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Granted, Resources, Stage
from evaluation.workflow.digests import scope_digest


def stages(run: ModelContext) -> list[Stage]:
    """Planned without torch, which only the stages themselves load."""
    preset = load_preset(run.preset)
    gpus = int(preset.device == "cuda")
    prepare = Stage(
        "prepare",
        run.work / "prepared" / "index.json",
        partial(_prepare, run, preset),
        (preset.grid, *(scope_digest(find_card(d), run.config) for d in run.entries)),
        needs=tuple(map(run.paths.split, run.entries)),
        priority=15,
    )
    train = Stage(
        "train",
        run.work / "checkpoint.pt",
        partial(_train, run, preset),
        (preset, run.config.seed),
        needs=(prepare.output,),
        predicts=run.entries,
        resources=Resources(
            threads=8 if gpus else 1,
            gpus=gpus,
            mem_mb=64_000 if gpus else 4_000,
            runtime_min=7 * 24 * 60 if gpus else 120,
            goes_on=True,
        ),
        priority=15,
    )
    return [prepare, train]


def _prepare(run: ModelContext, preset: Preset, _granted: Granted) -> str:
    from baselines.universal.multi_decoder.prepare import prepare_run

    index = prepare_run(run.paths, run.config, preset)
    cases = sum(len(entry.cases) for entry in index.entries)
    classes = sum(len(entry.classes) for entry in index.entries)
    return f"{cases} cases of {len(index.entries)} entries prepared, {classes} classes"


def _train(run: ModelContext, preset: Preset, granted: Granted) -> str:
    import torch

    from baselines.universal.multi_decoder.train import train

    torch.set_num_threads(granted.threads)
    result = train(run.work, preset, run.config.seed)
    return f"{result.steps_now} steps in {result.seconds:.0f} s, {result.checkpoint}"
