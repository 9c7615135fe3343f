"""Find dataset cards by id or by any printed spelling."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError, did_you_mean

R = TypeVar("R", bound=BaseModel)
CARD_FOLDER = Path(__file__).parent / "cards"


def load_record(path: Path, kind: type[R]) -> R:
    """Read one YAML file into a typed record.

    Raises:
        BenchError: names the file and, for every fault, the field and what was found.
    """
    try:
        data: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise BenchError("file cannot be read as YAML", file=path, found=error) from error
    if not isinstance(data, dict):
        raise BenchError("file holds no mapping", file=path, found=type(data).__name__)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise invalid_record(path, kind, error) from error


def invalid_record(path: Path | str, kind: type[BaseModel], error: ValidationError) -> BenchError:
    """One message for all faults of a record, with a hint where a key is merely misspelt."""
    faults = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"]) or "(whole record)"
        hint = ""
        if fault["type"] == "extra_forbidden":
            hint = " - " + did_you_mean(str(fault["loc"][-1]), list(kind.model_fields))
        faults.append(f"{field}: {fault['msg']}{hint}")
    return BenchError(
        f"not a valid {kind.__name__}", file=path, found="\n            ".join(faults)
    )


@lru_cache
def load_cards(folder: Path = CARD_FOLDER) -> dict[str, DatasetCard]:
    """All cards of a folder by id, in alphabetical order."""
    cards: dict[str, DatasetCard] = {}
    for path in sorted(folder.glob("*.yaml")):
        card = load_record(path, DatasetCard)
        if card.id != path.stem:
            raise BenchError(
                "card id and file name differ", file=path, found=card.id, expected=path.stem
            )
        cards[card.id] = card
    return cards


def find_card(name: str, folder: Path = CARD_FOLDER) -> DatasetCard:
    """The card of an id or of any printed spelling (case, blanks and signs do not matter).

    Raises:
        BenchError: no card has that name; the closest ones are named.
    """
    cards = load_cards(folder)
    if name in cards:
        return cards[name]
    for card in cards.values():
        if _plain(name) in {_plain(s) for s in (card.id, card.title, *card.spellings)}:
            return card
    raise BenchError(f"no dataset card `{name}`", hint=did_you_mean(name, list(cards)))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
