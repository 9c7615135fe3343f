"""The stages of the specialists in a run: each is prepared and trained by itself."""

from __future__ import annotations

from functools import partial

from baselines.nnunet.config import NnunetPreset, load_preset
from baselines.nnunet.specialists import specialists_of
from evaluation.datasets.registry import find_card
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Granted, Resources, Stage
from evaluation.workflow.digests import scope_digest

# Of each process that preprocesses: a large CT before and after resampling, in float64.
PREPARE_MEM_MB = 6_000


def stages(run: ModelContext) -> list[Stage]:
    """Two for each specialist of an entry: one for most, five for TotalSegmentator."""
    preset = load_preset(run.preset)
    return [
        stage
        for dataset in run.entries
        for specialist in specialists_of(find_card(dataset), run.config)
        for stage in _of_specialist(run, preset, dataset, specialist.id)
    ]


def _of_specialist(
    run: ModelContext, preset: NnunetPreset, dataset: str, specialist: str
) -> tuple[Stage, Stage]:
    gpus = int(preset.device == "cuda")
    prepare = Stage(
        "prepare",
        run.work / specialist / "prepared.json",
        partial(_prepare, run, specialist),
        (preset, scope_digest(find_card(dataset), run.config)),
        needs=(run.paths.split(dataset),),
        unit=specialist,
        resources=Resources(
            threads=preset.workers,
            mem_mb=max(16_000, PREPARE_MEM_MB * preset.workers),
            runtime_min=720,
            goes_on=True,
        ),
    )
    # Of its files only `model.json` is declared: checkpoints must survive a killed job.
    train = Stage(
        "train",
        run.work / specialist / "model.json",
        partial(_train, run, specialist),
        (preset, run.config.seed),
        needs=(prepare.output,),
        unit=specialist,
        predicts=(dataset,),
        resources=Resources(
            threads=8 if gpus else 1,
            gpus=gpus,
            mem_mb=32_000 if gpus else 4_000,
            runtime_min=(3 * 24 * 60 if gpus else 120) * len(preset.folds),
            goes_on=True,
        ),
    )
    return prepare, train


def _prepare(run: ModelContext, specialist: str, _granted: Granted) -> str:
    from baselines.nnunet.training import prepare_specialist

    return str(prepare_specialist(run.paths.root, specialist))


def _train(run: ModelContext, specialist: str, granted: Granted) -> str:
    from baselines.nnunet.training import train_specialist

    return str(train_specialist(run.paths.root, specialist, threads=granted.threads))
