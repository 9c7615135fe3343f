"""Copies of the user's own cards and study inside a run, so that it can be shown elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from urllib.parse import quote, unquote

from evaluation.config import RunConfig
from evaluation.datasets.registry import entry_ids, load_cards
from evaluation.errors import BenchError
from evaluation.files.card_places import STUDY_FILE, USER_FOLDER, carried_study
from evaluation.files.records import read_card
from evaluation.files.sums import discard
from evaluation.files.writing import atomic_path
from evaluation.models.card import ModelCard, model_cards
from evaluation.models.training_sets import dataset_of
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study, study_ids


def carry_cards(paths: RunPaths, config: RunConfig) -> None:
    """Copy what the run uses of the user's own cards, split lists and study into its folder.

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
            discard(copy)
        if card.is_file():
            _copy(card, paths.cards / "datasets" / card.name)
    _carry_study(paths, config)
    _prune(paths.cards / "models", models)
    _prune(paths.cards / "datasets", datasets)


def edited_cards(paths: RunPaths) -> list[str]:
    """A line for each carried card that the user's own file no longer equals."""
    return [
        f"{own} was edited since it made these results; shown is the run's copy {copy}"
        for own, copy in _copies(paths)
        if own.is_file() and own.read_bytes() != copy.read_bytes()
    ]


def _copies(paths: RunPaths) -> Iterator[tuple[Path, Path]]:
    """The user's own file and the run's copy, of cards, lists and the study."""
    for kind in ("models", "datasets"):
        for copy in sorted((paths.cards / kind).glob("[!.]*")):
            yield USER_FOLDER / kind / copy.name, copy
    for copy in sorted((paths.cards / "studies").glob("*/[!.]*")):
        study = Path(unquote(copy.parent.name))
        own = study if copy.name == STUDY_FILE else study.parent / unquote(copy.name)
        yield Path(normpath(own)), copy


def _datasets(config: RunConfig) -> set[str]:
    """Entries, and other datasets that tables and pages name: trained on, or overlapping."""
    known = load_cards()
    names = set(entry_ids(config))
    for name in sorted(names & set(known)):
        names |= {overlap.dataset for overlap in known[name].overlaps}
    for card in model_cards(config.models).values():
        names |= {dataset_of(name) for name in card.trained_on}
    return names


def _is_valid(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        read_card(path, ModelCard)
    except BenchError:
        return False
    return True


def _carry_study(paths: RunPaths, config: RunConfig) -> None:
    """Copy a user's study with the lists of the run's entries and the published files it names.

    Beside the copy of its own file they lie under their quoted names, wherever they were.
    """
    folder = carried_study(paths, config.study)
    for other in (paths.cards / "studies").glob("[!.]*/"):
        if other != folder:
            discard(other)
    study = find_study(config.study)
    if config.study in study_ids() or study.is_carried:
        return
    names = [*study.published.names, *filter(None, map(study.list_name, entry_ids(config)))]
    files = {quote(name, safe=""): study.file(name) for name in names}
    files = {name: file for name, file in files.items() if file.is_file()}
    for name, file in {**files, STUDY_FILE: Path(config.study)}.items():
        _copy(file, folder / name)
    for copy in folder.glob("[!.]*"):
        if copy.name not in (STUDY_FILE, *files):
            discard(copy)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)


def _prune(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*"):
        if path.stem not in names:
            discard(path)
