"""The ways to read a grid's rows, and tables that are joined from one block for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.files.tables import Table
from evaluation.protocol import COVERAGES, VIEWS
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.policies import ABSENT, CODE


@dataclass(frozen=True)
class Setting:
    """One way to read the rows."""

    policy: str
    view: str
    coverage: str


def settings_of(grid: ScoreGrid) -> Iterator[Setting]:
    """Policies x views x coverages; the last only where some model leaves something out."""
    whole = all(
        not ((e.status == CODE["unsupported"]) | (e.status == ABSENT))[:, e.slots.preferred].any()
        for e in grid.entries
    )
    for policy in grid.policies:
        for view in VIEWS if has_leaks(grid) else VIEWS[:1]:
            for coverage in ("supported",) if whole else COVERAGES:
                yield Setting(policy, view, coverage)


def has_leaks(grid: ScoreGrid) -> bool:
    """Whether the view `clean` leaves anything out."""
    return not all(entry.in_clean.all() for entry in grid.entries)


Block = dict[str, NDArray[Any]]
"""Some rows of a table, column by column; frames are dear to build in small pieces."""


def with_clean(grid: ScoreGrid, blocks: Sequence[Block], table: Table) -> pd.DataFrame:
    """Join blocks; where nothing is left out, the view `clean` is the view `paper` again."""
    if not blocks:
        return table.empty()
    frame = pd.DataFrame(
        {name: np.concatenate([block[name] for block in blocks]) for name in table.names}
    )
    if has_leaks(grid):
        return frame
    return pd.concat([frame, frame.assign(view="clean")], ignore_index=True)


def block_of(columns: Mapping[str, object], n: int, keep: NDArray[np.bool_]) -> Block:
    """Columns of `n` rows, single values repeated; only the rows to keep."""
    block = {}
    for name, value in columns.items():
        array = np.asarray(value)
        if array.dtype.kind in "US":
            array = array.astype(object)
        block[name] = np.broadcast_to(array, n)[keep]
    return block
