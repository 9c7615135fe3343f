"""The presets of a run's models, frozen whole: `runs/<model>/preset.json`.

Every stage, process, table and prediction reads the frozen preset, in which all that the user's
preset extends or names is written out. So no file that is edited meanwhile can mix two presets in
one model. Only who plans the training anew (snakemake at its start, `satbench train` without
`--stage`) freezes what the configuration names then; other values are other settings of the
stages, which then run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.files.records import (
    PresetSource,
    Record,
    invalid_record,
    is_preset_file,
    read_mapping,
)
from evaluation.files.writing import write_if_other
from evaluation.models.card import ModelCard, find_model, function_of, preset_of
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.variants import declared


class FrozenPreset(Record):
    """`preset.json`: a model's preset, by the name in the configuration and with all values.

    `values` is the name itself for a model that alone understands it.
    """

    name: str | None
    values: dict[str, Any] | str | None


def named_preset(card: ModelCard, name: str | None) -> FrozenPreset:
    """The preset of this name as it is now, as the model's own package reads it.

    Raises:
        BenchError: there is no such preset, or it is not valid.
    """
    values: Any = name
    found = preset_of(card, name)
    if found is not None:
        values = found.model_dump(mode="json") if isinstance(found, BaseModel) else found
    elif is_preset_file(name) and Path(str(name)).is_file():
        values = read_mapping(Path(str(name)))
    return FrozenPreset(name=name, values=values)


def frozen_preset(paths: RunPaths, model: str) -> FrozenPreset | None:
    """The preset that a run keeps of a model, if it has been planned.

    Raises:
        BenchError: the file is damaged.
    """
    path = paths.preset(model)
    if not path.is_file():
        return None
    try:
        return FrozenPreset.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise invalid_record(path, FrozenPreset, error) from error


def freeze_preset(paths: RunPaths, model: str, preset: FrozenPreset) -> None:
    """Write a model's preset into the run, if it changed."""
    write_if_other(paths.preset(model), preset.model_dump_json(indent=1) + "\n")


def preset_in_use(paths: RunPaths, config: RunConfig, model: str) -> PresetSource:
    """What a run does a model's work with: the values that it keeps, before that the name."""
    frozen = frozen_preset(paths, model)
    return config.presets.get(model) if frozen is None else frozen.values


def preset_words(paths: RunPaths, config: RunConfig, card: ModelCard) -> str:
    """What a model says of its preset beside the name, such as the knowledge it had.

    Nothing, if it says nothing, or the run knows no preset of it: it may be from elsewhere.
    """
    say = function_of(card, "words", "in_words")
    if say is None or (card.id not in config.presets and not paths.preset(card.id).is_file()):
        return ""
    try:
        return str(say(preset_in_use(paths, config, card.id), paths.model_run(card.id)))
    except BenchError:  # a preset that is gone: what was made of it can still be shown
        return ""


def title_with_preset(paths: RunPaths, config: RunConfig, card: ModelCard) -> str:
    """A model's printed name, with what its preset in this run adds to it.

    A preset may have a method `in_title(card)`, for what a row must not be mistaken for, such as
    one text encoder for another. Where the run knows no preset of the model, the card's title; on a
    board of submissions the title that the submission gives.
    """
    if paths.title(card.id).is_file():
        return paths.title(card.id).read_text(encoding="utf-8").strip()
    if card.id not in config.presets and not paths.preset(card.id).is_file():
        return card.title
    try:
        load = function_of(card, "config", "load_preset")
        preset: Any = load(preset_in_use(paths, config, card.id)) if load else None
        more = preset.in_title(card) if hasattr(preset, "in_title") else ""
    except BenchError:  # as for `preset_words`
        more = ""
    return f"{card.title}, {more}" if more else card.title


def preset_fallbacks(
    config: RunConfig, presets: Mapping[str, FrozenPreset]
) -> Iterator[tuple[str, str]]:
    """Model, and what of its preset stands in for something better, for those that have any."""
    for model in config.models:
        say = function_of(find_model(model), "words", "fallbacks") if model in presets else None
        for line in say(presets[model].values) if say else ():
            yield model, line


def presets_of_run(
    paths: RunPaths, config: RunConfig, models: Sequence[str], *, anew: bool
) -> dict[str, FrozenPreset]:
    """The presets of those models that are trained or have one.

    Args:
        paths: of the run.
        config: names the presets.
        models: of the configuration.
        anew: as the named presets are now; otherwise as the run keeps them.

    Raises:
        BenchError: as `named_preset`.
    """
    found = {}
    for card in map(find_model, models):
        if card.trains or card.id in config.presets:
            kept = None if anew else frozen_preset(paths, card.id)
            found[card.id] = kept or named_preset(card, config.presets.get(card.id))
    return found


def context_of(
    card: ModelCard,
    paths: RunPaths,
    config: RunConfig,
    preset: PresetSource,
    entries: Sequence[str] = (),
) -> ModelContext:
    """What a model's adapter, or its stages, are built from."""
    options = dict(card.adapter.options) if card.adapter.kind == "python" else {}
    training = declared(card.id)
    if training is not None and training.seed is not None:
        config = config.model_copy(update={"seed": training.seed})
    return ModelContext(
        card.id, paths, config, paths.model_run(card.id), preset, options, tuple(entries)
    )
