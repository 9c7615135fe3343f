"""The stages of a universal system in a run: the store of its grid, then its training.

The traditional systems have one training for each entry.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.universal.config import OF_LABELS, ONE_FOR_EACH_ENTRY, load_preset, system_of
from baselines.universal.entries import catalogue
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import has_training_side
from evaluation.files.identity import named_states
from evaluation.models.protocol import ModelContext
from evaluation.models.stages import Stage
from evaluation.training.stages import prepare_stage, train_stage

if TYPE_CHECKING:
    from evaluation.training.train import Trained

LABELS = 2
"""Version of what systems of labels learn, as `DRAWS` in `evaluation.training.stages`.

Their jobs run again; a training is another one only on scans that lack an annotation (`train`).
"""


def stages(run: ModelContext) -> list[Stage]:
    """Planned without torch, which only the stages themselves load."""
    system = system_of(run.model, run.options)
    preset, seed = load_preset(run.preset).of(system), run.config.seed
    prepare = prepare_stage(run, preset)

    def training(entry: str | None) -> Stage:
        def train(work: Path, store: Path) -> Trained:
            from baselines.universal.train import train

            return train(work, store, preset, seed, entry=entry)

        more: list[object] = [named_states(preset.upstream)] if preset.upstream else []
        if system in OF_LABELS or ":" in system:
            more.append(("labels", LABELS))
        stage = train_stage(run, preset, train, (preset, seed, *more), [prepare], entry)
        others = [d for d in run.entries if preset.answers_as.get(d, d) in stage.predicts]
        return replace(stage, predicts=tuple(dict.fromkeys((*stage.predicts, *others))))

    if system not in ONE_FOR_EACH_ENTRY:
        return [prepare, training(None)]
    cards = [card for card in map(find_card, run.entries) if has_training_side(card, run.config)]
    scope = {card.id: [c.name for c in classes_in_scope(card, run.config)] for card in cards}
    return [prepare, *(training(e.dataset) for e in catalogue(scope, {}).entries)]
