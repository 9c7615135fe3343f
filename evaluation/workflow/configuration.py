"""Read a configuration; its names (study, models, metrics, ...) are checked at once.

A misspelt key would not be noticed by itself: the model would be trained with its default preset,
the entry scored with all of its classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evaluation.config import RunConfig, declare_variants
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.records import invalid_record, read_mapping
from evaluation.metrics.catalogue import asked_metrics
from evaluation.models.card import (
    built_in_ids,
    check_preset,
    find_model,
    model_cards,
    own_ids,
)
from evaluation.studies.record import find_study
from evaluation.variants import trainings


def load_config(path: Path) -> RunConfig:
    """Read a configuration file; all of its names are known and entries have their ids.

    Raises:
        BenchError: names the first fault (see `with_known_names`).
    """
    return _known(read_mapping(path), str(path))


def config_from(values: Mapping[str, Any], files: Iterable[Path | str]) -> RunConfig:
    """Validate values that the workflow has read from files, merged and overridden.

    Args:
        values: the merged values.
        files: where they come from; read once more, because the workflow's reader keeps the last
            of two equal keys and says nothing.

    Raises:
        BenchError: as `load_config`.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        read_mapping(path)
    return _known(values, ", ".join(map(str, paths)))


def _known(values: Mapping[str, Any], origin: str) -> RunConfig:
    try:
        config = RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise invalid_record(origin, RunConfig, error) from error
    return with_known_names(config, origin)


def with_known_names(config: RunConfig, origin: str) -> RunConfig:
    """The configuration with every entry by its id, whatever its spelling.

    Args:
        config: as it was read.
        origin: where it was read, for the messages.

    Raises:
        BenchError: an unknown study, model, preset, entry, class or metric; an entry spelt twice;
            presets that miss the models of the run; a grid that the study has not.
    """
    declare_variants(config)
    _check_variants(config, origin)
    study = find_study(config.study)
    for space in config.space:
        if not study.protocol.has_space(space):
            more = ", crop: {ENTRY: {margin: [X, Y, Z]}}" if space == "cropped" else ""
            raise BenchError(
                f"space: the study `{study.id}` has no grid `{space}`",
                file=origin,
                hint=f"leave `{space}` out of `space`, or write `protocol: {{spacing_mm: [X, Y, Z]"
                f"{more}}}` into the study",
            )
    # A tolerance that stands in a metric's name takes the place of the default one.
    given = config.tolerance_mm if "tolerance_mm" in config.model_fields_set else None
    metrics, tolerances = asked_metrics(config.metrics, given)
    for model in config.models:
        find_model(model)
    _check_presets(config, origin)
    entries = config.entries
    if entries != "all":
        entries = _ids(entries, "entries", origin)
    for name in study.entries:
        find_card(name)
    classes = dict(
        zip(_ids(config.classes, "classes", origin), config.classes.values(), strict=True)
    )
    known = config.model_copy(
        update={
            "entries": entries,
            "classes": classes,
            "metrics": list(metrics),
            "tolerance_mm": list(tolerances),
        }
    )
    for entry in classes:
        classes_in_scope(find_card(entry), known)
    return known


def _check_variants(config: RunConfig, origin: str) -> None:
    own = set(trainings(config.variants))
    for name, variant in config.variants.items():
        where = f"variants.{name}"
        if name in {*built_in_ids(), *own_ids()}:
            raise BenchError(f"{where}: `{name}` is the id of a model", file=origin)
        if variant.model in own:
            raise BenchError(f"{where}: `{variant.model}` is a variant itself", file=origin)
        card = find_model(variant.model)
        if not card.trains or card.alone:
            raise BenchError(
                f"{where}: there can be no variants of `{card.id}` in one run",
                file=origin,
                hint="give it another preset in a run of its own"
                if card.trains
                else "it is not trained here",
            )


def unused_names(config: RunConfig) -> list[str]:
    """Keys of `presets` and `classes` that mean nothing in this run, as notes for the user.

    They are no faults: who leaves out a model or an entry on the command line leaves them behind.
    """
    entries = entry_ids(config)
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
