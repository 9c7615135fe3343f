"""Readers of raw layouts, few and shared; a card names one of them and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from evaluation.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from evaluation.datasets.card import DatasetCard
    from evaluation.datasets.readers.base import RawCase, Reader

# By name, so that a card's reader loads only what it needs itself.
READERS: dict[str, str] = {
    "decathlon": "evaluation.datasets.readers.decathlon:DecathlonReader",
    "paired": "evaluation.datasets.readers.paired:PairedReader",
    "structures": "evaluation.datasets.readers.structures:StructuresReader",
    "dicom_png": "evaluation.datasets.readers.dicom_png:DicomPngReader",
    "dicom_nifti": "evaluation.datasets.readers.dicom_nifti:DicomNiftiReader",
    "frames": "evaluation.datasets.readers.frames:FramesReader",
    "no_image": "evaluation.datasets.readers.no_image:NoImageReader",
    "probabilities": "evaluation.datasets.readers.probabilities:ProbabilitiesReader",
}


def get_reader(card: DatasetCard) -> Reader:
    """The reader that a card asks for, built with the card's arguments.

    `card.reader` is a name of `READERS`, or `module:object` where calling the object with the
    card gives a reader (a class whose constructor takes the card, or a function).

    Raises:
        BenchError: no such reader, or arguments that it does not accept.
    """
    target = READERS.get(card.reader, card.reader)
    module_name, _, attribute = target.partition(":")
    if not (attribute and module_name):
        raise BenchError(
            f"card `{card.id}`: no reader `{card.reader}`",
            expected="one of " + ", ".join(READERS) + ", or module:object of your own",
            hint=did_you_mean(card.reader, list(READERS)),
        )
    try:
        factory: Callable[[DatasetCard], Reader] = getattr(import_module(module_name), attribute)
    except Exception as error:
        # The module may be the user's own, and run or lack anything.
        raise BenchError(
            f"card `{card.id}`: reader `{card.reader}` cannot be loaded",
            found=f"{type(error).__name__}: {error}",
            expected="an importable module and an object in it, written module:object",
        ) from error
    try:
        reader = factory(card)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(
            f"card `{card.id}`: reader `{card.reader}` makes no reader of the card",
            found=f"{type(error).__name__}: {error}",
            expected="a class or function that takes the card",
        ) from error
    if not (hasattr(reader, "discover") and hasattr(reader, "read")):
        raise BenchError(
            f"card `{card.id}`: reader `{card.reader}` gives no reader",
            found=type(reader).__name__, expected="an object with discover and read",
        )  # fmt: skip
    return reader


def discover(card: DatasetCard, raw_root: Path) -> list[RawCase]:
    """The cases of an entry under a raw root, sorted by id; names only, no file is opened.

    Raises:
        BenchError: the folder is not there, or has not the layout of the card.
    """
    from evaluation.datasets.readers.layout import linked_places

    folder = raw_root / card.folder
    cases = get_reader(card).discover(folder)
    places = linked_places(raw_root, folder)
    return [replace(raw, places=places) for raw in cases]


def reader_help() -> str:
    """What each reader is for and which arguments a card may give it."""
    from evaluation.datasets.readers.patterns import PatternArguments

    lines = ["File patterns are paths with fields, as in images/{case}.nii.gz.", ""]
    lines += [*(getdoc(PatternArguments) or "").splitlines(), ""]
    for name, target in READERS.items():
        module_name, _, attribute = target.partition(":")
        reader: Any = getattr(import_module(module_name), attribute)
        lines += [f"{name}: {getdoc(reader)}", ""]
        lines += [f"    {line}".rstrip() for line in (getdoc(reader.Arguments) or "").splitlines()]
        lines += [f"    - {argument}" for argument in _arguments(reader.Arguments)] + [""]
    return "\n".join(lines).rstrip()


def _arguments(kind: type[BaseModel], inside: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        default = "required" if field.is_required() else f"default {field.default!r}"
        if get_origin(field.annotation) is Literal:
            default += ", or " + ", ".join(repr(c) for c in get_args(field.annotation)[1:])
        yield f"{inside}{name}: {default}"
        for part in get_args(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _arguments(part, f"{inside}{name}.")
