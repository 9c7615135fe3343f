"""Find dataset cards by id or by any printed spelling.

The cards of the benchmark's own datasets lie in `evaluation/datasets/cards/`, a user's own in
`config/datasets/` of the folder where the work is done.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import CardFile, card_files
from evaluation.files.records import Cards
from evaluation.files.writing import visible
from evaluation.studies.record import find_study

if TYPE_CHECKING:
    from evaluation.config import RunConfig

CARD_FOLDER = Path(__file__).parent / "cards"
USER_CARD_FOLDER = Path("config/datasets")


def load_cards(folder: Path | None = None) -> Cards[DatasetCard]:
    """Cards by id: the benchmark's own in alphabetical order, then the user's.

    A user's card that is not valid, or takes a name that is in use, is left out (`Cards.faults`).

    Args:
        folder: only the cards of this folder.

    Raises:
        BenchError: a file of another folder is no card.
    """
    if folder is not None:
        return _load(folder, ())
    return _load(CARD_FOLDER, card_files("datasets"))


def entry_ids(config: RunConfig) -> list[str]:
    """The ids that a configuration's `entries` stand for.

    `all` are its study's: any other dataset joins a run by its name only, so that a card in
    `config/datasets` never changes what reproduces a document.

    Raises:
        BenchError: its study is not there.
    """
    chosen = config.entries
    return list(find_study(config.study).entries) if chosen == "all" else list(chosen)


@lru_cache
def _load(folder: Path, own: tuple[CardFile, ...]) -> Cards[DatasetCard]:
    cards: Cards[DatasetCard] = Cards()
    owners: dict[str, str] = {"all": "all of them, in a configuration's `entries`"}
    networks: dict[str, str] = {}

    def claim(card: DatasetCard, path: Path) -> None:
        spellings, ids = _spellings(card), {s.id: s.id for s in card.specialists}
        _refuse_claimed(owners, spellings, card, path, "name")
        _refuse_claimed(networks, ids, card, path, "specialist")
        owners.update(dict.fromkeys(spellings, card.id))
        networks.update(dict.fromkeys(ids, card.id))

    cards.read(visible(folder, "*.y*ml"), DatasetCard, claim, whole=True)
    cards.read([file.path for file in own], DatasetCard, claim)
    return cards


def _spellings(card: DatasetCard) -> dict[str, str]:
    return {_plain(name): name for name in (card.id, card.title, *card.spellings)}


def _refuse_claimed(
    owners: dict[str, str], names: dict[str, str], card: DatasetCard, path: Path, what: str
) -> None:
    for plain, name in names.items():
        if owners.get(plain, card.id) != card.id:
            raise BenchError(
                f"the {what} `{name}` belongs to another dataset",
                file=path,
                found=f"`{name}` also leads to `{owners[plain]}`",
                hint="choose another id, title, spelling or specialist id, and file name",
            )


def find_card(name: str, folder: Path | None = None) -> DatasetCard:
    """The card of an id or of any printed spelling (case, blanks and signs do not matter).

    Args:
        name: id, title or another spelling.
        folder: look only there.

    Raises:
        BenchError: no card has that name (the closest ones are named), or its file is no card.
    """
    cards = load_cards(folder)
    if name in cards:
        return cards[name]
    for card in cards.values():
        if _plain(name) in _spellings(card):
            return card
    cards.refuse(name)
    raise BenchError(
        f"no dataset card `{name}`",
        expected=f"one of the benchmark's entries, or a card {USER_CARD_FOLDER}/{name}.yaml",
        hint=did_you_mean(name, list(cards)) + " (`satbench new dataset NAME` writes a card)",
    )


def owner_of(name: str) -> DatasetCard | None:
    """The card that a new dataset of this name would clash with: by a spelling or a specialist."""
    for card in load_cards().values():
        if _plain(name) in _spellings(card) or name in {s.id for s in card.specialists}:
            return card
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
