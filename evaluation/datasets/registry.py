"""Find dataset cards by id or by any printed spelling.

The cards of the benchmark's 32 entries lie in `evaluation/datasets/cards/`, a user's own in
`config/datasets/` of the folder where the work is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from evaluation.card_places import CardFile, card_files
from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError, did_you_mean
from evaluation.records import read_cards

CARD_FOLDER = Path(__file__).parent / "cards"
USER_CARD_FOLDER = Path("config/datasets")


def load_cards(folder: Path | None = None) -> dict[str, DatasetCard]:
    """Cards by id: the benchmark's own in alphabetical order, then the user's.

    Args:
        folder: only the cards of this folder.

    Raises:
        BenchError: a card is not valid, or a user's card takes a name that is in use.
    """
    if folder is not None:
        return _load(folder, ())
    for path in sorted(USER_CARD_FOLDER.glob("[!.]*.yml")):
        raise BenchError("a card's file name ends in .yaml", file=path, hint="rename it")
    return _load(CARD_FOLDER, card_files("datasets"))


def entry_ids(entries: Sequence[str] | Literal["all"]) -> list[str]:
    """The ids that a configuration's `entries` stand for.

    `all` are the benchmark's own 32: a user's dataset joins a run by its name only, so that a
    card in `config/datasets` never changes what reproduces the paper.
    """
    return list(load_cards(CARD_FOLDER)) if entries == "all" else list(entries)


@lru_cache
def _load(folder: Path, own: tuple[CardFile, ...]) -> dict[str, DatasetCard]:
    cards: dict[str, DatasetCard] = {}
    owners: dict[str, str] = {}
    networks: dict[str, str] = {}
    files = [*sorted(folder.glob("*.yaml")), *(file.path for file in own)]
    for path, card in read_cards(files, DatasetCard, cards):
        _claim(owners, _spellings(card), card, path, "name")
        _claim(networks, {s.id: s.id for s in card.specialists}, card, path, "specialist")
        cards[card.id] = card
    return cards


def _spellings(card: DatasetCard) -> dict[str, str]:
    return {_plain(name): name for name in (card.id, card.title, *card.spellings)}


def _claim(
    owners: dict[str, str], names: dict[str, str], card: DatasetCard, path: Path, what: str
) -> None:
    for plain, name in names.items():
        if owners.setdefault(plain, card.id) != card.id:
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
        BenchError: no card has that name; the closest ones are named.
    """
    cards = load_cards(folder)
    if name in cards:
        return cards[name]
    for card in cards.values():
        if _plain(name) in _spellings(card):
            return card
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
