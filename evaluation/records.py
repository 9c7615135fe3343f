"""Typed records in YAML files: cards, presets, configurations, read with errors that help."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from evaluation.card_places import preset_place
from evaluation.errors import BenchError, did_you_mean
from evaluation.strict_yaml import load_yaml

R = TypeVar("R", bound=BaseModel)
C = TypeVar("C", bound="Card")


class Record(BaseModel):
    """A record that refuses unknown keys and does not change once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(Record):
    """What every card has: an id, which is also the name of its file."""

    id: str


def load_record(path: Path, kind: type[R]) -> R:
    """Read one YAML file into a typed record.

    Raises:
        BenchError: names the file and, for every fault, the field and what was found.
    """
    return validated(_mapping(path), path, kind)


def validated(values: dict[str, Any], path: Path, kind: type[R]) -> R:
    """Values of a file as a typed record.

    Raises:
        BenchError: as `load_record`.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid_record(path, kind, error) from error


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data: Any = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise BenchError("file cannot be read as YAML", file=path, found=found) from error
    if not isinstance(data, dict):
        raise BenchError("file holds no mapping", file=path, found=type(data).__name__)
    return data


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


def read_cards(
    files: Iterable[Path], kind: type[C], taken: Container[str]
) -> Iterator[tuple[Path, C]]:
    """Cards with their files.

    Args:
        files: in the order in which they are read.
        kind: the record of these cards.
        taken: ids that are used; looked at anew for each card.

    Raises:
        BenchError: a card is not valid, is not named after its id, or takes an id that is used.
    """
    for path in files:
        card = read_card(path, kind)
        if card.id in taken:
            raise BenchError(
                f"the id `{card.id}` is taken by an entry of the benchmark",
                file=path,
                hint="choose another id and file name",
            )
        yield path, card


def read_card(path: Path, kind: type[C]) -> C:
    """One card.

    Raises:
        BenchError: it is not valid, or is not named after its id.
    """
    card = load_record(path, kind)
    if card.id != path.stem:
        raise BenchError(
            "card id and file name differ", file=path, found=card.id, expected=path.stem
        )
    return card


def require_id(name: str, kind: Any, title: str, separators: str) -> None:
    """Check an id before a card is written under it.

    Args:
        name: what the user typed.
        kind: the type of the card's field `id`.
        title: what has the id, for the message: `model` or `dataset`.
        separators: what may stand, singly, between letters and digits; the first of them joins
            the words of the suggestion.

    Raises:
        BenchError: it is no id; says what is allowed, and the closest id.
    """
    try:
        TypeAdapter(kind).validate_python(name)
    except ValidationError as error:
        ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        words = re.findall("[a-z0-9]+", ascii_name.lower()) or ["my", title]
        allowed = " or ".join(f"`{separator}`" for separator in separators)
        raise BenchError(
            f"`{name}` is no {title} id",
            expected=f"lower-case letters and digits, between them single {allowed}",
            hint=f"use `{separators[0].join(words)}`; the title in the card is free",
        ) from error


def preset_names(folder: Path) -> list[str]:
    """Names of the presets in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_preset(name: str, folder: Path, kind: type[R], title: str) -> R:
    """A preset of the folder by its name, or a file of the user's (a path that ends in `.yaml`).

    A preset with the key `extends: NAME` is that other preset with what it says itself: sections
    are merged key by key, everything else is replaced.

    Raises:
        BenchError: no such preset, an invalid one (file, field and what was found), or presets
            that extend each other in a circle.
    """
    path = _preset_file(name, folder, title)
    return validated(_extended(path, folder, title, ()), path, kind)


def is_preset_file(name: object) -> bool:
    """Whether a preset is named as a file of the user's, not as a built-in one."""
    return isinstance(name, str) and name.endswith((".yaml", ".yml"))


def _preset_file(name: str, folder: Path, title: str) -> Path:
    own = is_preset_file(name)
    path = preset_place(name) if own else folder / f"{name}.yaml"
    if not path.is_file():
        raise BenchError(
            f"no {title} preset `{name}`", file=path, hint=did_you_mean(name, preset_names(folder))
        )
    return path


def _extended(path: Path, folder: Path, title: str, before: tuple[Path, ...]) -> dict[str, Any]:
    if path in before:
        raise BenchError("presets extend each other in a circle", file=path)
    values = _mapping(path)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    base = _preset_file(str(parent), folder, title)
    return _merged(_extended(base, folder, title, (*before, path)), values)


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[key] = value
    return merged
