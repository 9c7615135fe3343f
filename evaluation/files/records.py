"""Typed records in YAML files: cards, presets, configurations, read with errors that help."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from evaluation.errors import BenchError, did_you_mean
from evaluation.files.reading import text_of
from evaluation.files.strict_yaml import load_yaml
from evaluation.files.writing import visible

R = TypeVar("R", bound=BaseModel)
C = TypeVar("C", bound="Card")
# A preset by its name, as a file of the user's, or its values as a run keeps them; None: default.
PresetSource = str | Mapping[str, Any] | None
_log = logging.getLogger(__name__)


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
    return validated(read_mapping(path), path, kind)


def validated(values: Mapping[str, Any], path: Path | str, kind: type[R]) -> R:
    """Values of a file as a typed record.

    Raises:
        BenchError: as `load_record`.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid_record(path, kind, error) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        BenchError: the file is missing, is not YAML in UTF-8, holds a key twice or no mapping.
    """
    text = text_of(path)
    try:
        data: Any = load_yaml(text)
    except yaml.YAMLError as error:
        found = " ".join(str(error).split())
        raise BenchError(
            "file cannot be read as YAML", file=path, found=found, expected="YAML, saved as UTF-8"
        ) from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise BenchError(
            "file holds no mapping", file=path, found=found, expected="lines such as `key: value`"
        )
    return data


def invalid_record(path: Path | str, kind: type[BaseModel], error: ValidationError) -> BenchError:
    """One message for all faults of a record."""
    return BenchError(f"not a valid {kind.__name__}", file=path, found=faults_of(kind, error))


def faults_of(kind: type[BaseModel], error: ValidationError) -> str:
    """A line for each fault: the field, what is wrong, and the key that was meant or the value."""
    faults = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"]) or "(whole record)"
        more = ""
        if fault["type"] == "extra_forbidden":
            known = _keys_at(kind, fault["loc"][:-1])
            more = " - " + did_you_mean(str(fault["loc"][-1]), known)
        elif isinstance(fault["input"], str | float | int):
            more = f", found {fault['input']!r:.80}"
        faults.append(f"{field}: {fault['msg'].removeprefix('Value error, ')}{more}")
    return "\n            ".join(faults)


def _keys_at(kind: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Keys of the record, or of the alternatives, at a place inside a record."""
    kinds = [kind]
    for part in place:
        # An index or the name of an alternative leads no further down.
        fields = [k.model_fields[part] for k in kinds if part in k.model_fields]
        kinds = [inner for field in fields for inner in _records_in(field.annotation)] or kinds
    return [name for k in kinds for name in k.model_fields]


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _records_in(part)


class Cards(dict[str, C]):
    """Cards by id.

    A file of the user's that cannot be used stops nobody but the one who asks for its card: it is
    named in the log, and `faults` (file name without suffix -> what is wrong) keeps the reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, BenchError] = {}

    def read(
        self,
        files: Iterable[Path],
        kind: type[C],
        check: Callable[[C, Path], None] = lambda _card, _path: None,
        *,
        whole: bool = False,
    ) -> None:
        """Add cards from their files.

        Args:
            files: in the order in which they are read.
            kind: the record of these cards.
            check: refuses a card and its file with a BenchError.
            whole: every file must be a card, for the benchmark's own folders.

        Raises:
            BenchError: with `whole`, for the first file that cannot be used.
        """
        for path in files:
            try:
                card = self._card(path, kind)
                check(card, path)
            except BenchError as error:
                if whole:
                    raise
                self.faults[path.stem] = error
                _log.warning("this card is left out: %s", error.one_line)
            else:
                self[card.id] = card

    def _card(self, path: Path, kind: type[C]) -> C:
        card = read_card(path, kind)
        if card.id in self:
            raise BenchError(
                f"the id `{card.id}` is taken by a card of the benchmark",
                file=path,
                hint="choose another id and file name",
            )
        return card

    def refuse(self, name: str) -> None:
        """Raise the fault of the file that should hold the card of this name, if it has one."""
        if name in self.faults:
            raise self.faults[name]


def read_card(path: Path, kind: type[C]) -> C:
    """One card.

    Raises:
        BenchError: it is not valid, or is not named after its id.
    """
    if path.suffix != ".yaml":
        raise BenchError("a card's file name ends in .yaml", file=path, hint="rename it")
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
    return [path.stem for path in visible(folder, "*.yaml")]


def read_preset(
    source: str | Mapping[str, Any],
    folder: Path,
    kind: type[R],
    title: str,
    join: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] | None = None,
) -> R:
    """A preset: of the folder by its name, a file of the user's, or the values that a run keeps.

    A path that ends in `.yaml` is a file.

    A preset with the key `extends: NAME` is that other preset with what it says itself: sections
    are merged key by key, everything else is replaced. `join(base, change)` takes the place of
    this where presets of a kind want more (`merged` without it).

    Raises:
        BenchError: no such preset, an invalid one (file, field and what was found), or presets
            that extend each other in a circle.
    """
    if isinstance(source, Mapping):
        return validated(source, f"the run's {title} preset", kind)
    path = _preset_file(source, folder, title)
    return validated(_extended(path, folder, title, (), join or merged), path, kind)


def is_preset_file(name: object) -> bool:
    """Whether a preset is named as a file of the user's, not as a built-in one."""
    return isinstance(name, str) and name.endswith((".yaml", ".yml"))


def _preset_file(name: str, folder: Path, title: str, named_in: Path | None = None) -> Path:
    own = is_preset_file(name)
    path = Path(name) if own else folder / f"{name}.yaml"
    if not path.is_file():
        raise BenchError(
            f"no {title} preset `{name}`",
            file=path,
            found=None if named_in is None else f"`extends: {name}` in {named_in}",
            hint=did_you_mean(name, preset_names(folder)),
        )
    return path


def _extended(
    path: Path,
    folder: Path,
    title: str,
    before: tuple[Path, ...],
    join: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    if path in before:
        raise BenchError("presets extend each other in a circle", file=path)
    values = read_mapping(path)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    base = _preset_file(str(parent), folder, title, path)
    return join(_extended(base, folder, title, (*before, path), join), values)


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change`; mappings within are merged key by key."""
    both = dict(base)
    for key, value in change.items():
        old = both.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)
        both[key] = value
    return both
