"""Which classes a folder of segmentations holds, and under which values or file names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evaluation.errors import BenchError
from evaluation.files.strict_yaml import load_yaml

DATASET_FILE = "dataset.json"
_BACKGROUND = "background"
_IGNORED = "ignore"


@dataclass(frozen=True)
class Label:
    """One class: values in a label map, or the name of its mask's file (without suffix)."""

    values: tuple[int, ...] = ()
    file: str | None = None


Labels = dict[str, Label]


def read_labels_file(path: Path) -> Labels:
    """Read `--labels`: YAML (or JSON) mapping class -> value, list of values, or file name.

    A `dataset.json` is accepted too.

    Raises:
        BenchError: not readable, no mapping, or a class with anything else.
    """
    try:
        data: Any = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
            try:
                data: Any = json.loads(candidate.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise BenchError(
                    "dataset.json cannot be read",
                    file=candidate,
                    found=error,
                    hint="repair it, or give --labels",
                ) from error
            if isinstance(data, Mapping) and isinstance(data.get("labels"), Mapping):
                return _labels_of(data["labels"], candidate), candidate
    return None


def _labels_of(data: Mapping[Any, Any], path: Path) -> Labels:
    if all(_is_number(key) and isinstance(value, str) for key, value in data.items()):
        # The Decathlon writes value -> name.
        data = {name: int(value) for value, name in data.items()}
    labels: Labels = {}
    for name, value in data.items():
        # Background is no class, and neither is what nnU-Net leaves out of its loss.
        if str(name).lower() not in (_BACKGROUND, _IGNORED) and value not in (0, [0]):
            labels[str(name)] = _label(str(name), value, path)
    if not labels:
        raise BenchError("labels name no class but the background", file=path)
    return labels


def _label(name: str, value: Any, path: Path) -> Label:
    values = value if isinstance(value, list) else [value]
    if values and all(isinstance(v, int) and not isinstance(v, bool) for v in values):
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
    return str(key).lstrip("-").isdigit()
