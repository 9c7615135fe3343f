"""Datasets that a preset names by their ids: one that there is not would be ignored without a word.

Checked when a training is planned. The preset within a checkpoint is not: what it names may be gone
by the time that somebody predicts with it.
"""

from __future__ import annotations

from evaluation.datasets.registry import load_cards, owner_of
from evaluation.errors import BenchError, did_you_mean
from evaluation.training.settings import TrainingPreset


def require_known_entries(preset: TrainingPreset) -> None:
    """Refuse a preset that names a dataset of which there is no card, the user's included.

    A setting is looked up by the id alone: another spelling of the name, or the id of one of the
    dataset's specialists, whose groups share the setting of the whole, is refused as well.

    Raises:
        BenchError: names every such id, where it stands, and what may be meant.
    """
    cards = load_cards()
    known = [*cards, *preset.entries_without_card]
    unknown = [
        (setting, name)
        for setting, names in preset.named_entries.items()
        for name in dict.fromkeys(names)
        if name not in known
    ]
    for _, name in unknown:
        cards.refuse(name)
    if unknown:
        raise BenchError(
            "the preset names datasets that there are not",
            file=f"preset `{preset.name}`",
            found="; ".join(f"{setting}: `{name}`" for setting, name in unknown),
            expected="ids of dataset cards",
            hint="; ".join(dict.fromkeys(_meant(name, known) for _, name in unknown)),
        )


def _meant(name: str, known: list[str]) -> str:
    owner = owner_of(name)
    if owner is not None:
        return f"write `{owner.id}`, the id of the dataset that `{name}` belongs to"
    return f"for `{name}`: {did_you_mean(name, known)}"
