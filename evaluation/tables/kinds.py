"""Direct or union: which answer for a generated class enters the means, decided here only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.protocol import KINDS


def preferred(
    owner: NDArray[np.int64], kind: NDArray[np.int64], supported: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which rows are of their owner's preferred kind.

    Annotated; else direct, if the model was asked for the class by name; else the union of its
    parts. A kind of which every row says `unsupported` comes last.

    Args:
        owner: number of the row's model and class (and entry, space, tolerance).
        kind: position of the row's kind in `KINDS`.
        supported: the row's status is another one than `unsupported`.
    """
    if not len(owner):
        return np.zeros(0, dtype=bool)
    choices, choice = np.unique(owner * len(KINDS) + kind, return_inverse=True)
    some = np.zeros(len(choices), dtype=bool)
    np.logical_or.at(some, choice, supported)
    owners, place = choices // len(KINDS), choices % len(KINDS)
    order = np.lexsort((place, ~some, owners))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(owners[order]) != 0
    best = np.zeros(len(choices), dtype=bool)
    best[order[first]] = True
    chosen: NDArray[np.bool_] = best[choice.ravel()]
    return chosen


def preferred_rows(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which score rows are of the kind that enters the means, as the tables have it.

    It is chosen once for each space, tolerance, entry, model and class.
    """
    keys: list[Any] = ["space", "tolerance_mm", "dataset", "model", "class"]
    owner = rows.groupby(keys, observed=True, sort=False, dropna=False).ngroup().to_numpy()
    kind = rows["kind"].astype(str).map(KINDS.index).to_numpy(dtype=np.int64)
    return preferred(owner.astype(np.int64), kind, (rows["status"] != "unsupported").to_numpy())
