"""The stages of SAT-Nano in a run: crops, then text and atlas if the preset asks, then the network.

Planning imports this, so torch is loaded only by what a stage does.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from evaluation.datasets.registry import find_card
from evaluation.files.identity import named_states
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Granted, Resources, Stage
from evaluation.workflow.digests import scope_digest
from sat.atlas.settings import CROP_SETTINGS
from sat.config import Preset, load_preset
from sat.knowledge.settings import RECORD_FILE, KnowledgeSettings, text_folder
from sat.training.store import FORMAT

# The longest single job of a run should start first.
PRIORITY = 20
GPU_THREADS = 8


def stages(run: ModelContext) -> list[Stage]:
    """One joint training on all entries, and what it starts from."""
    preset, work = load_preset(run.preset), run.work
    training = preset.training
    gpus = training.processes if training.device == "cuda" else 0
    prepare = Stage(
        "prepare",
        work / "prepared" / "index.json",
        partial(_prepare, run, preset),
        (FORMAT, preset.grid, *(scope_digest(find_card(d), run.config) for d in run.entries)),
        needs=tuple(map(run.paths.split, run.entries)),
        resources=Resources(mem_mb=16_000, runtime_min=720),
        priority=PRIORITY,
    )
    before = [prepare]
    if preset.prompts.trains_text:
        before.append(_text_stage(run, preset))
    if preset.trains_atlas:
        crops = training.model_dump(mode="json", include=CROP_SETTINGS)
        atlas = Stage(
            "atlas",
            work / str(training.initial_encoder),
            partial(_atlas, run, preset),
            (
                preset.atlas, preset.network, preset.prompts, crops, run.config.seed,
                named_states(preset),
            ),
            needs=tuple(stage.output for stage in before),
            resources=_training_resources(
                min(gpus, 1), GPU_THREADS if gpus else 1, 64_000 if gpus else 4_000, days=2
            ),
            priority=PRIORITY,
        )  # fmt: skip
        before.append(atlas)
    # On GPUs: crops read ahead, by eight workers for each with two batches each.
    mem_mb = max(64_000, 32_000 * gpus) if gpus else 4_000 * training.processes
    threads = (GPU_THREADS if gpus else 1) * training.processes
    train = Stage(
        "train",
        work / "checkpoint.pt",
        partial(_train, run, preset),
        (preset, run.config.seed, named_states(preset)),
        needs=tuple(stage.output for stage in before),
        predicts=run.entries,
        resources=_training_resources(gpus, threads, mem_mb, days=7),
        priority=PRIORITY,
    )
    return [*before, train]


def _text_stage(run: ModelContext, preset: Preset) -> Stage:
    settings = preset.prompts.knowledge
    assert isinstance(settings, KnowledgeSettings)
    on_gpu = settings.device == "cuda"
    return Stage(
        "text",
        text_folder(run.work) / RECORD_FILE,
        partial(_text, run, settings),
        (settings, run.config.seed, named_states(settings)),
        resources=_training_resources(int(on_gpu), GPU_THREADS if on_gpu else 1, 8_000, days=2),
        priority=PRIORITY,
    )


def _training_resources(gpus: int, threads: int, mem_mb: int, days: int) -> Resources:
    """On a CPU, for small presets, two hours."""
    minutes = days * 24 * 60 if gpus else 120
    return Resources(threads, gpus, mem_mb=mem_mb, runtime_min=minutes, goes_on=True)


def _prepare(run: ModelContext, preset: Preset, _granted: Granted) -> str:
    from sat.training.prepare import prepare_run

    index = prepare_run(run.paths, run.config, run.model, preset)
    cases = sum(len(entry.cases) for entry in index.entries)
    classes = sum(len(entry.classes) for entry in index.entries)
    return f"{cases} cases of {len(index.entries)} entries prepared, {classes} classes"


def _text(run: ModelContext, settings: KnowledgeSettings, granted: Granted) -> str:
    import torch

    from sat.knowledge.commands import RETRIEVAL_FILE, report_retrieval
    from sat.knowledge.train import train_text

    torch.set_num_threads(granted.threads)
    out = text_folder(run.work)
    done = train_text(out, settings, run.config.seed)
    report_retrieval(out, None, settings.held_out, out / RETRIEVAL_FILE)
    return f"{settings.name}: {done.steps_now} steps in {done.seconds:.0f} s, {done.folder}"


def _atlas(run: ModelContext, preset: Preset, granted: Granted) -> str:
    import torch

    from sat.atlas.learnt import report_lines
    from sat.atlas.setup import prepare_atlas
    from sat.atlas.training import measure_atlas, train_atlas

    torch.set_num_threads(granted.threads)
    atlas = prepare_atlas(run.work, preset, run.config.seed)
    done = train_atlas(atlas)
    spent = f"{done.steps_now} steps in {done.seconds:.0f} s, {done.encoder}"
    return "\n".join([spent, *report_lines(measure_atlas(atlas))])


def _train(run: ModelContext, preset: Preset, granted: Granted) -> str | None:
    """Several processes share each step; started by torchrun, this is one of them."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        on_gpu = preset.training.device == "cuda"
        processes = granted.processes or (granted.gpus if on_gpu else preset.training.processes)
        if processes > 1:
            from sat.training.launch import launch

            threads = max(1, granted.threads // max(1, processes // granted.nodes))
            threads = min(threads, GPU_THREADS) if on_gpu else threads
            program = [
                sys.argv[0], "train", "--run", str(run.paths.root), "--model", run.model,
                "--stage", "train", "--threads", str(threads),
            ]  # fmt: skip
            launch(program, processes, granted.nodes, threads)
            return None
    import torch

    from sat.training.distributed import team_of_environment
    from sat.training.train import train

    team = team_of_environment()
    torch.set_num_threads(granted.threads)
    result = train(run.work, preset, run.config.seed)
    if not team.leads:
        return None
    spent = f"{result.steps_now} steps in {result.seconds:.0f} s"
    return f"{preset.name}: {spent}, {result.checkpoint}"
