"""The names in a configuration - models, presets, entries, classes - checked before any work.

A misspelt key would not be noticed by itself: the model would be trained with its default preset,
the entry scored with all of its classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError, did_you_mean
from evaluation.models.card import check_preset, find_model, model_cards

if TYPE_CHECKING:
    from evaluation.config import RunConfig


def with_known_names(config: RunConfig, origin: str) -> RunConfig:
    """The configuration with every entry by its id, whatever its spelling.

    Args:
        config: as it was read.
        origin: where it was read, for the messages.

    Raises:
        BenchError: an unknown model, preset, entry or class; one entry by two spellings; presets
            that miss the models of the run.
    """
    for model in config.models:
        find_model(model)
    _check_presets(config, origin)
    entries = config.entries
    if entries != "all":
        entries = _ids(entries, "entries", origin)
    classes = dict(
        zip(_ids(config.classes, "classes", origin), config.classes.values(), strict=True)
    )
    known = config.model_copy(update={"entries": entries, "classes": classes})
    for entry in classes:
        classes_in_scope(find_card(entry), known)
    return known


def unused_names(config: RunConfig) -> list[str]:
    """Keys of `presets` and `classes` that mean nothing in this run, as notes for the user.

    They are no faults: who leaves out a model or an entry on the command line leaves them behind.
    """
    entries = entry_ids(config.entries)
    return [
        *(f"presets.{m}: not among the run's models" for m in _strangers(config)),
        *(f"classes.{e}: not among the run's entries" for e in config.classes if e not in entries),
    ]


def _ids(names: Iterable[str], field: str, origin: str) -> list[str]:
    ids: dict[str, str] = {}
    for name in names:
        card = find_card(name)
        if card.id in ids:
            raise BenchError(
                f"{field}: `{name}` and `{ids[card.id]}` are one entry, `{card.id}`", file=origin
            )
        ids[card.id] = name
    return list(ids)


def _strangers(config: RunConfig) -> list[str]:
    return [model for model in config.presets if model not in config.models]


def _check_presets(config: RunConfig, origin: str) -> None:
    cards = model_cards({*config.presets, *config.models})
    for model, preset in config.presets.items():
        if model not in cards:
            raise BenchError(
                f"presets: no model is called `{model}`",
                file=origin,
                hint=did_you_mean(model, config.models),
            )
        check_preset(cards[model], preset)
    bare = [m for m in config.models if cards[m].trains and m not in config.presets]
    if (strangers := _strangers(config)) and bare:
        # The preset that was meant for a model must not become its default, the full size.
        raise BenchError(
            f"presets: {_listed(strangers)} not among the run's models, and {_listed(bare)} "
            "without a preset",
            file=origin,
            hint=f"give `{bare[0]}` its preset; on the command line "
            f"`--config 'presets={{{bare[0]}: NAME}}'`, or `--config presets=` for the defaults",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names) + (" is" if len(names) == 1 else " are")
