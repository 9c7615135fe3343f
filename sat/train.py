"""SAT-Nano's training: the engine's, with prompts of the store's classes to start from."""

from __future__ import annotations

from pathlib import Path

from evaluation.training.model import Start
from evaluation.training.store import PreparedIndex
from evaluation.training.train import Trained
from evaluation.training.train import train as train_model
from sat.atlas.transfer import initial_digest, start_encoder
from sat.config import Preset
from sat.model import SatModel, model_from
from sat.prompts.book import Key, write_prompt_book
from sat.prompts.choice import encoder_digest, run_folder


def train(
    work: Path,
    store: Path,
    preset: Preset,
    seed: int,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train from a prepared store to `work/checkpoint.pt`; see `evaluation.training.train`.

    Args:
        work: the model's folder in the run.
        store: prepared store of the preset's grid.
        preset: all settings; the checkpoint keeps them.
        seed: seed of weights, samples and dropout.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.
    """

    def new(index: PreparedIndex) -> SatModel:
        keys: set[Key] = {(e.modality, name) for e in index.entries for name in e.classes}
        book = write_prompt_book(preset.prompts, sorted(keys), run_folder(preset.prompts, work))
        model = SatModel(preset, book, {entry.dataset: entry.classes for entry in index.entries})
        start_encoder(model, work)
        return model

    def made_from() -> object:
        return [encoder_digest(preset.prompts, work), initial_digest(work, preset)]

    start = Start(new, model_from, made_from)
    return train_model(work, store, preset, seed, start, stop_after=stop_after, progress=progress)
