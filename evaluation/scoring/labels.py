"""Which classes a folder of segmentations holds, and under which values or file names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evaluation.errors import BenchError, printable
from evaluation.files.reading import json_of, text_of
from evaluation.files.strict_yaml import load_yaml

DATASET_FILE = "dataset.json"
_BACKGROUND = "background"
_IGNORED = "ignore"
HIGHEST_VALUE = 2**31 - 1


@dataclass(frozen=True)
class Label:
    """One class: values in a label map, or the name of its mask's file (without suffix).

    `ignored` is no class: voxels of these values were not annotated and count on neither side.
    """

    values: tuple[int, ...] = ()
    file: str | None = None
    ignored: bool = False


Labels = dict[str, Label]


def without_ignored(labels: Labels) -> tuple[Labels, tuple[int, ...]]:
    """The classes, and the values that count on neither side (nnU-Net's label `ignore`)."""
    classes = {name: label for name, label in labels.items() if not label.ignored}
    values = [value for label in labels.values() if label.ignored for value in label.values]
    return classes, tuple(values)


def read_labels_file(path: Path) -> Labels:
    """Read `--labels`: YAML (or JSON) mapping class -> value, list of values, or file name.

    A `dataset.json` is accepted too.

    Raises:
        BenchError: not readable, no mapping, or a class with anything else.
    """
    try:
        data: Any = load_yaml(text_of(path))
    except yaml.YAMLError as error:
        raise BenchError("labels cannot be read", file=path, found=error) from error
    if isinstance(data, Mapping) and isinstance(data.get("labels"), Mapping):
        data = data["labels"]
    if not isinstance(data, Mapping) or not data:
        raise BenchError(
            "labels are no mapping",
            file=path,
            found=type(data).__name__,
            expected="lines such as `liver: 1`, `kidney: [2, 3]` or `spleen: spleen.nii.gz`",
        )
    return _labels_of(data, path)


def find_labels(reference: Path) -> tuple[Labels, Path] | None:
    """The labels of the nearest `dataset.json`: in the reference's folder or the one above it."""
    folder = reference if reference.is_dir() else reference.parent
    for candidate in (folder / DATASET_FILE, folder.parent / DATASET_FILE):
        if candidate.is_file():
            data: Any = json_of(candidate)
            if isinstance(data, Mapping) and isinstance(data.get("labels"), Mapping):
                return _labels_of(data["labels"], candidate), candidate
    return None


def _labels_of(data: Mapping[Any, Any], path: Path) -> Labels:
    if all(_is_number(key) and isinstance(value, str) for key, value in data.items()):
        # The Decathlon writes value -> name; two values of one name are one class.
        values: dict[str, list[int]] = {}
        for value, name in data.items():
            values.setdefault(name, []).append(int(value))
        data = values
    labels: Labels = {}
    for key, value in data.items():
        name = printable(unicodedata.normalize("NFC", str(key)))
        if name in labels:
            raise BenchError(f"the class `{name}` is there twice", file=path)
        (only, *more) = value if isinstance(value, list) and value else [value]
        is_zero = type(only) is int and only == 0 and not more
        if name.lower() == _IGNORED and not is_zero:
            labels[name] = replace(_label(name, value, path), ignored=True)
        elif name.lower() != _BACKGROUND and not is_zero:
            labels[name] = _label(name, value, path)
    if all(label.ignored for label in labels.values()):
        raise BenchError("labels name no class but the background", file=path)
    return labels


def _label(name: str, value: Any, path: Path) -> Label:
    values = value if isinstance(value, list) else [value]
    if values and all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        if far := [v for v in values if abs(v) > HIGHEST_VALUE]:
            raise BenchError(
                f"class `{name}` has a value that no label map holds", file=path, found=far[0],
                expected=f"at most {HIGHEST_VALUE}",
            )  # fmt: skip
        return Label(values=tuple(values))
    if isinstance(value, str) and value and Path(value).name == value:
        return Label(file=value)
    if isinstance(value, dict):
        raise BenchError(
            f"`{name}` is a mapping, not a label",
            file=path,
            found=repr(value)[:200],
            expected="classes at the top level or under `labels`: lines such as `liver: 1`",
        )
    raise BenchError(
        f"class `{name}` has no usable label",
        file=path,
        found=repr(value),
        expected="a whole number, a list of whole numbers, or a file name",
    )


def _is_number(key: Any) -> bool:
    return re.fullmatch(r"-?[0-9]+", str(key)) is not None
