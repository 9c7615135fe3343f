"""The presets that each model comes with: what they are, in a line, and one of them in full.

A model's own package says what its presets mean: the module `config` has their folder
(`PRESET_FOLDER`), and `preset_facts(model, name)`, which reads one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from evaluation.errors import BenchError
from evaluation.files.records import is_preset_file, preset_names
from evaluation.models.card import ModelCard, check_preset, find_model, function_of, model_ids

NO_PRESETS = "the model's package lists no presets"


@dataclass(frozen=True)
class PresetFacts:
    """What a preset says of a training.

    Attributes:
        device: such as `CPU`, `GPU` or `4 GPUs`.
        widths: channels of each stage of the network, or where they come from.
        patch: sides of a training crop in voxels.
        steps: of the training.
        description: its own.
        values: all of it, with what it extends and every default written out; as a file of the
            user's it is the same preset.
        needs: what must be there before it can be used, such as a licensed source.
    """

    device: str
    widths: str
    patch: str
    steps: str
    description: str
    values: BaseModel
    needs: tuple[str, ...] = ()


def device_words(device: str, processes: int = 1) -> str:
    """What a device of a preset means for the one who has the machine."""
    if device == "cuda":
        return "GPU" if processes == 1 else f"{processes} GPUs"
    return "CPU" if device == "cpu" else "CPU or GPU"


def sides(lengths: Sequence[int]) -> str:
    """Sides of a patch, or widths of stages: `40x56x16`."""
    return "x".join(map(str, lengths))


def preset_groups(
    only: ModelCard | None = None,
) -> Iterator[tuple[tuple[str, ...], dict[str, PresetFacts]]]:
    """Models that share a folder of presets, with those presets by name.

    A model whose package is not installed, or lists none, has an empty list. Of models that share
    a folder, facts are those of the first; some presets differ by system.

    Args:
        only: this model alone.

    Raises:
        BenchError: a built-in preset is not valid.
    """
    groups: dict[Path | str, list[str]] = {}
    for card in (only,) if only else _readable():
        if not card.trains:
            continue
        folder = _folder(card)
        groups.setdefault(card.id if folder is None else folder, []).append(card.id)
    for place, models in groups.items():
        names = preset_names(place) if isinstance(place, Path) else []
        yield tuple(models), {name: preset_facts(find_model(models[0]), name) for name in names}


def _readable() -> Iterator[ModelCard]:
    for name in model_ids():
        try:
            yield find_model(name)
        except BenchError:  # `satbench new model` and the run that names it say what is wrong
            continue


def _folder(card: ModelCard) -> Path | None:
    try:
        found = function_of(card, "config", "PRESET_FOLDER")
        return None if function_of(card, "config", "preset_facts") is None else found
    except BenchError:
        return None


def preset_facts(card: ModelCard, name: str) -> PresetFacts:
    """What a preset says, as the model's own package reads it.

    Args:
        card: a model that is trained here.
        name: of a built-in preset, or a file of the user's.

    Raises:
        BenchError: the model has no presets, its package does not list them, there is none of
            this name, or it is not valid.
    """
    check_preset(card, name)
    read: Any = function_of(card, "config", "preset_facts")
    if read is None:
        raise BenchError(
            NO_PRESETS, file=f"card {card.id}",
            expected="a function `preset_facts(model, name)` beside `load_preset`",
        )  # fmt: skip
    found: PresetFacts = read(card.id, name)
    return found


def preset_text(facts: PresetFacts, name: str) -> str:
    """A preset in full, as the YAML of a file of the user's."""
    values = facts.values.model_dump(mode="json")
    head = f"# the preset {Path(name).name if is_preset_file(name) else f'`{name}`'}, written out\n"
    return head + yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=96)
