"""The stages of SAT-Nano in a run: crops, then text and atlas if the preset asks, then the network.

Planning imports this, so torch is loaded only by what a stage does.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.files.identity import named_states
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Granted, Stage
from evaluation.training.stages import (
    GPU_THREADS,
    PRIORITY,
    prepare_resources,
    prepare_stage,
    train_stage,
    training_resources,
)
from evaluation.training.store import FORMAT
from sat.config import CROP_SETTINGS, Preset, atlas_index, load_preset, stage_2_store
from sat.knowledge.settings import RECORD_FILE, KnowledgeSettings, text_folder
from sat.words import fallbacks

if TYPE_CHECKING:
    from evaluation.training.train import Trained

_log = logging.getLogger(__name__)


def stages(run: ModelContext) -> list[Stage]:
    """One joint training on all entries, and what it starts from."""
    preset, seed = load_preset(run.preset), run.config.seed
    before = [prepare_stage(run, preset)]
    if preset.prompts.trains_text:
        before.append(_text_stage(run, preset))
    if preset.trains_atlas:
        own = [_volumes_stage(run, preset)] if preset.atlas and preset.atlas.volumes else []
        # With an atlas of its own, stage 2 need not wait for the run's scans.
        needs = [stage for stage in before if not (own and stage.name == "prepare")]
        before += [*own, _atlas_stage(run, preset, [*needs, *own])]

    def train(work: Path, store: Path) -> Trained:
        from sat.train import train

        return train(work, store, preset, seed)

    settings = (preset, seed, named_states(preset))
    return [*before, train_stage(run, preset, train, settings, before)]


def _text_stage(run: ModelContext, preset: Preset) -> Stage:
    settings = preset.prompts.knowledge
    assert isinstance(settings, KnowledgeSettings)
    on_gpu = settings.device == "cuda"
    return Stage(
        "text",
        text_folder(run.work) / RECORD_FILE,
        partial(_text, run, settings),
        (settings, run.config.seed, named_states(settings)),
        resources=training_resources(int(on_gpu), GPU_THREADS if on_gpu else 1, 8_000, days=2),
        priority=PRIORITY,
    )


def _atlas_stage(run: ModelContext, preset: Preset, before: list[Stage]) -> Stage:
    on_gpu = preset.training.device == "cuda"
    crops = preset.training.model_dump(mode="json", include=CROP_SETTINGS)
    made_from = (preset.atlas, preset.network, preset.prompts, crops, run.config.seed)
    return Stage(
        "atlas",
        run.work / str(preset.training.initial_encoder),
        partial(_atlas, run, preset),
        (*made_from, named_states(preset)),
        needs=tuple(stage.output for stage in before),
        resources=training_resources(
            int(on_gpu), GPU_THREADS if on_gpu else 1, 64_000 if on_gpu else 4_000, days=2
        ),
        priority=PRIORITY,
    )


def _volumes_stage(run: ModelContext, preset: Preset) -> Stage:
    assert preset.atlas is not None
    return Stage(
        "prepare-atlas",
        atlas_index(run.work),
        partial(_volumes, run, preset),
        (FORMAT, preset.grid, preset.atlas.volumes, named_states(preset.atlas)),
        resources=prepare_resources(preset),
        priority=PRIORITY,
    )


def _volumes(run: ModelContext, preset: Preset, granted: Granted) -> str:
    from sat.atlas.volumes import prepare_volumes

    assert preset.atlas is not None
    folder = Path(str(preset.atlas.volumes))
    index = prepare_volumes(atlas_index(run.work).parent, folder, preset.grid, jobs=granted.threads)
    return f"{sum(len(entry.cases) for entry in index.entries)} volumes of {folder} prepared"


def _text(run: ModelContext, settings: KnowledgeSettings, granted: Granted) -> str:
    import torch

    from sat.knowledge.commands import RETRIEVAL_FILE, report_retrieval
    from sat.knowledge.train import train_text

    torch.set_num_threads(granted.threads)
    out = text_folder(run.work)
    for line in fallbacks(run.preset):
        _log.warning(line)
    done = train_text(out, settings, run.config.seed)
    report_retrieval(out, None, settings.held_out, out / RETRIEVAL_FILE)
    return f"{settings.name}: {done.steps_now} steps in {done.seconds:.0f} s, {done.folder}"


def _atlas(run: ModelContext, preset: Preset, granted: Granted) -> str:
    import torch

    from sat.atlas.learnt import report_lines
    from sat.atlas.setup import prepare_atlas
    from sat.atlas.training import measure_atlas, train_atlas

    torch.set_num_threads(granted.threads)
    store = stage_2_store(run.paths, run.work, preset)
    atlas = prepare_atlas(run.work, store, preset, run.config.seed)
    done = train_atlas(atlas)
    spent = f"{done.steps_now} steps in {done.seconds:.0f} s, {done.encoder}"
    return "\n".join([spent, *report_lines(measure_atlas(atlas))])
