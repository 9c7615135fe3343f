"""Means and intervals of any numbers of scans, made as the benchmark's own are made of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from evaluation.tables.intervals import spread
from evaluation.tables.samples import EntrySample, Sample, reduce_entry
from evaluation.tables.targets import Universe, overall_targets


def means_with_intervals(
    found: pd.DataFrame, quantities: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float, float]]:
    """Mean over entries of mean over classes of mean over scans, and its 95 % interval.

    Args:
        found: columns dataset, modality, classes (a name for each class), case, person, and the
            quantities; several rows of a class of a case are averaged, NaN says nothing.
        quantities: the columns to average, each with the smallest and largest value it can have.

    Returns:
        Quantity -> mean and the ends of its interval over persons; NaN where there is nothing.
    """
    slots = found[["dataset", "modality", "classes"]].drop_duplicates().sort_values("dataset")
    people = sorted(found["person"].unique())
    entries: list[EntrySample] = []
    start, first = {}, 0
    for entry, part in found.groupby("dataset"):
        names = slots.loc[slots["dataset"] == entry, "classes"].tolist()
        known = np.flatnonzero(np.isin(people, part["person"].unique()))
        cases = part[["case", "person"]].drop_duplicates().reset_index(drop=True)
        means = part.groupby(["case", "classes"])[list(quantities)].mean()
        grid = pd.MultiIndex.from_product([cases["case"], names])
        values = means.reindex(grid).to_numpy(dtype=np.float64)
        shape = (len(cases), len(names), len(quantities))
        order = {people[number]: i for i, number in enumerate(known.tolist())}
        person = cases["person"].map(order).to_numpy(dtype=np.int64)
        missing = np.zeros(shape[1:], dtype=np.int64)
        entries.append(reduce_entry(str(entry), known, person, values.reshape(shape), missing))
        start[str(entry)] = first
        first += len(names)
    sample = Sample(tuple(quantities), len(people), tuple(entries))
    yes = np.ones(len(slots), dtype=bool)
    dataset, modality, name = (
        slots[column].to_numpy(dtype=str) for column in ("dataset", "modality", "classes")
    )
    universe = Universe(dataset, modality, name, leaf=yes, preferred=yes, start=start)
    targets = overall_targets(universe)[0]
    slot_means = sample.slot_means(universe)
    deviation = spread(sample, universe, targets)
    numbers = {}
    for position, (quantity, (least, most)) in enumerate(quantities.items()):
        low, high = deviation.interval(least, most)
        own = targets.weights(np.isfinite(slot_means[:, position]))[0]
        value = float(own @ np.nan_to_num(slot_means[:, position])) if own.any() else math.nan
        numbers[quantity] = (value, float(low[0, position]), float(high[0, position]))
    return numbers
