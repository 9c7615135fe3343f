"""Copies of the user's own cards and presets inside a run, so that it can be shown elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.config import RunConfig
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.errors import BenchError
from evaluation.files.card_places import USER_FOLDER, carried_preset
from evaluation.files.records import is_preset_file, read_card
from evaluation.files.strict_yaml import load_yaml
from evaluation.files.writing import atomic_path
from evaluation.models.card import ModelCard, model_cards
from evaluation.paths import RunPaths


def carry_cards(paths: RunPaths, config: RunConfig) -> None:
    """Copy what the run uses of the user's own cards, split lists and presets into its folder.

    A copy stays where the user's file is gone or, of a model, broken; copies that the run no
    longer uses are deleted.
    """
    models = set(config.models)
    datasets = _datasets(config)
    for name in models:
        own = USER_FOLDER / "models" / f"{name}.yaml"
        if _is_valid(own):
            _copy(own, paths.cards / "models" / own.name)
    for name in datasets:
        card = USER_FOLDER / "datasets" / f"{name}.yaml"
        listed, copy = card.with_suffix(".csv"), paths.cards / "datasets" / f"{name}.csv"
        if listed.is_file():
            _copy(listed, copy)
        elif card.is_file() or not (paths.cards / "datasets" / card.name).is_file():
            copy.unlink(missing_ok=True)
        if card.is_file():
            _copy(card, paths.cards / "datasets" / card.name)
    presets = {carried_preset(paths, name).name for name in _carry_presets(paths, config)}
    _prune(paths.cards / "models", models)
    _prune(paths.cards / "datasets", datasets)
    for path in (paths.cards / "presets").glob("*"):
        if path.name not in presets:
            path.unlink()


def edited_cards(paths: RunPaths) -> list[str]:
    """A line for each carried card that the user's own file no longer equals."""
    return [
        f"{own} was edited since it made these results; shown is the run's copy {copy}"
        for kind in ("models", "datasets")
        for copy in sorted((paths.cards / kind).glob("[!.]*"))
        if (own := USER_FOLDER / kind / copy.name).is_file()
        and own.read_bytes() != copy.read_bytes()
    ]


def _datasets(config: RunConfig) -> set[str]:
    """Entries, and other datasets that tables and pages name: trained on, or overlapping."""
    known = load_cards()
    names = set(entry_ids(config.entries))
    for name in sorted(names & set(known)):
        names |= {overlap.dataset for overlap in known[name].overlaps}
    for card in model_cards(config.models).values():
        names |= set(card.trained_on)
    return names


def _is_valid(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        read_card(path, ModelCard)
    except BenchError:
        return False
    return True


def _carry_presets(paths: RunPaths, config: RunConfig) -> Iterator[str]:
    """Copy the presets, and the files that they name in turn; their names as they are written."""
    todo = [name for name in config.presets.values() if is_preset_file(name)]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        copy = carried_preset(paths, name)
        if Path(name).is_file():
            _copy(Path(name), copy)
        if copy.is_file():
            yield name
            todo += _preset_files_in(load_yaml(copy.read_text(encoding="utf-8")))


def _preset_files_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [name for part in value.values() for name in _preset_files_in(part)]
    return [value] if is_preset_file(value) else []


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)


def _prune(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*"):
        if path.stem not in names:
            path.unlink()
