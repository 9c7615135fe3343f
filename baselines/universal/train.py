"""Training of a universal system: the engine's, with the tasks of the store's entries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from baselines.universal.config import Preset
from baselines.universal.entries import catalogue
from baselines.universal.masks import ClipDrivenModel
from baselines.universal.model import LabelModel, UniversalModel
from baselines.universal.systems import load_model, model_class, model_from, new_model
from baselines.universal.text import set_vectors, text_digest, text_width
from baselines.universal.upstream import as_it_is, freeze_upstream, from_upstream, narrowed
from evaluation.files.identity import file_digest
from evaluation.training.checkpoints import FINAL_FILE
from evaluation.training.model import Start
from evaluation.training.store import PreparedIndex, read_index, read_known
from evaluation.training.train import Trained
from evaluation.training.train import train as train_model


def train(
    work: Path,
    store: Path,
    preset: Preset,
    seed: int,
    *,
    entry: str | None = None,
    stop_after: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train from a prepared store to `work/checkpoint.pt`; see `evaluation.training.train`.

    Args:
        work: folder of the training.
        store: prepared store of the preset's grid.
        preset: all settings; the checkpoint keeps them.
        seed: seed of weights and crops.
        entry: the only entry to train on; none: all of the store.
        stop_after: leave after so many steps with only `last.pt` written, as if killed there.
        progress: show a bar.
    """
    if preset.upstream is not None and preset.upstream.trains == "nothing":
        as_it_is(preset, work / FINAL_FILE)
        return Trained(work / FINAL_FILE, 0, 0.0)

    entries = None if entry is None else [entry]

    def new(index: PreparedIndex) -> UniversalModel:
        sequences = {e.dataset: e.sequences for e in index.entries}
        classes = {e.dataset: e.classes for e in index.entries}
        known = catalogue(classes, preset.shares, sequences, preset.sequences)
        if preset.upstream is not None:
            return from_upstream(preset, known)
        model = new_model(preset, known.model_copy(update={"text_width": text_width(preset)}))
        if isinstance(model, ClipDrivenModel):
            set_vectors(model, preset)
        return model

    # The losses are those of a batch, so that here its size is more than an arrangement.
    def made_from() -> object:
        upstream = preset.upstream
        more = [] if upstream is None else [file_digest(Path(upstream.checkpoint))]
        # Before 0.12.0 such labels were background; trainings without any are what they were.
        if issubclass(model_class(preset.system), LabelModel) and partly_annotated():
            more.append("labels without annotation are left out")
        return [preset.training.batch, text_digest(preset), *more]

    def partly_annotated() -> bool:
        index = narrowed(read_index(store, preset.grid).of(entries), preset)
        return any(
            read_known(store, e.dataset, case).not_annotated
            for e in index.entries
            for case in e.cases
        )

    def restore(content: Mapping[str, Any], path: Path) -> UniversalModel:
        model = model_from(content, path)
        if preset.upstream is None:
            return model
        return freeze_upstream(
            model, len(load_model(Path(preset.upstream.checkpoint)).known.entries)
        )

    start = Start(new, restore, made_from)
    return train_model(
        work, store, preset, seed, start,
        entries=entries, narrow=partial(narrowed, preset=preset),
        stop_after=stop_after, progress=progress,
    )  # fmt: skip
