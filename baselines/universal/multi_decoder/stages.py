"""The stages of a multi-decoder network in a run: the store of its grid, then the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from baselines.universal.multi_decoder.config import load_preset
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Stage
from evaluation.training.stages import prepare_stage, train_stage

if TYPE_CHECKING:
    from evaluation.training.train import Trained


def stages(run: ModelContext) -> list[Stage]:
    """Planned without torch, which only the stages themselves load."""
    preset, seed = load_preset(run.preset), run.config.seed

    def train(work: Path, store: Path) -> Trained:
        from baselines.universal.multi_decoder.train import train

        return train(work, store, preset, seed)

    prepare = prepare_stage(run, preset)
    return [prepare, train_stage(run, preset, train, (preset, seed), [prepare])]
