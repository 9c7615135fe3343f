"""Pairs of masks and what the peers gave for them, in the development data beside the clone."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

Pairs = Iterator[tuple[Any, list[dict[str, str]]]]


@pytest.fixture
def peer_values(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Pairs]:
    """Gives, for `pairs` or `instance_pairs`, every pair with its rows of values.

    Rows without a value, ties that rounding decides, and rows for which the peer exchanged the
    spacings are left out.
    """
    folder = shared / "reference" / "metric_values"
    monkeypatch.syspath_prepend(str(folder))

    def read(name: str) -> Pairs:
        values = "distance_values.csv" if name == "pairs" else "instance_values.csv"
        rows = defaultdict(list)
        with (folder / values).open(newline="") as file:
            for row in csv.DictReader(file):
                left_out = row["note"].startswith(("tie", "peer exchanges"))
                if row["value"] != "raises" and not left_out:
                    rows[row["pair"]].append(row)
        for pair in getattr(import_module(name), name)():
            yield pair, rows[pair.id]

    return read
