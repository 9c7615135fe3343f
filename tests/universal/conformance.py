"""Weights and inputs of the conformance pages, by their formulas."""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

PAGES = Path(__file__).parents[3] / "shared" / "reference" / "universal_conformance"
SALT = "open"


def rows(name: str) -> list[dict[str, str]]:
    """The rows of `<name>.csv`; without the pages, see the fixture `shared`."""
    with (PAGES / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(name: str, shape: Sequence[int], salt: str = SALT) -> Tensor:
    """Values from -1 to 1 that belong to a name, float64."""
    state = np.random.RandomState(zlib.crc32((name + salt).encode()))
    return torch.from_numpy(state.uniform(-1, 1, math.prod(shape)).reshape(tuple(shape)))


def weights(name: str, shape: Sequence[int]) -> Tensor:
    """The formula of a weight."""
    u = numbers(name, shape)
    if len(shape) >= 2:
        return math.sqrt(3) * u / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * u if name.endswith(".weight") else 0.1 * u


def shape_of(text: str) -> tuple[int, ...]:
    """`32x1x3` as numbers."""
    return tuple(int(part) for part in text.split("x"))


def state_dict(system: str, *, training: bool = True) -> dict[str, Tensor]:
    """A release, float64; without what only its training needs if asked."""
    return {
        row["key"]: weights(row["key"], shape_of(row["shape"]))
        for row in rows(f"keys_{system}")
        if training or row["part"] != "training"
    }


def fill(module: nn.Module, renames: Mapping[str, str]) -> None:
    """Give a part of a network the weights of the names that the pages call its parts by."""
    module.double()
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            part, _, rest = name.rpartition(".")
            theirs = f"{renames[part]}.{rest}" if part else renames[rest]
            tensor.copy_(weights(theirs, tensor.shape))


def deviation(tables: Mapping[str, Tensor], page: str) -> dict[str, float]:
    """Largest deviation from the printed values for each named tensor; all must be on the page."""
    worst: dict[str, float] = {}
    for row in rows(page):
        place = row.get("place") or row["part"]
        if place in tables:
            index = tuple(int(i) for i in row["index"].split("/") if i)
            off = abs(float(tables[place][index]) - float(row["value"]))
            worst[place] = max(worst.get(place, 0.0), off)
    assert set(worst) == set(tables)
    return worst
