"""The multi-decoder's training: the engine's, with the labels of the store's entries."""

from __future__ import annotations

from pathlib import Path

from baselines.universal.multi_decoder.config import Preset
from baselines.universal.multi_decoder.model import (
    MultiDecoderModel,
    entry_labels,
    model_from,
    numbered,
)
from evaluation.datasets.registry import find_card
from evaluation.training.model import Start
from evaluation.training.store import PreparedIndex
from evaluation.training.train import Trained
from evaluation.training.train import train as train_model


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
        seed: seed of weights and crops.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.
    """

    def new(index: PreparedIndex) -> MultiDecoderModel:
        leaves = {e.dataset: entry_labels(find_card(e.dataset), e.classes) for e in index.entries}
        return MultiDecoderModel(preset, numbered(leaves))

    start = Start(new, model_from)
    return train_model(work, store, preset, seed, start, stop_after=stop_after, progress=progress)
