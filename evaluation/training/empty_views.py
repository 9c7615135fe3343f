"""How many training crops, and how many windows of a prediction, show no target at all.

A network that is trained around its targets alone never sees an empty window, and finds targets
there when it predicts: the longer it trains, the more. The two shares should be alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from evaluation.files.reading import array_of
from evaluation.training.draws import CropDraws, Group
from evaluation.training.grid import padded_shape
from evaluation.training.sampling import choose_centre, place_crop
from evaluation.training.settings import TrainingPreset
from evaluation.training.store import PreparedRecord
from evaluation.training.windows import window_starts
from evaluation.volumes.image_files import Array

# Windows are looked at in so many cases of a group.
CASES = 20
# Crops that are looked at, of all that are drawn.
CROPS = 2000
# An empty window in three that no crop has shown is what real scans were ruined by.
ALIKE = 0.15


@dataclass(frozen=True)
class EmptyViews:
    """Parts of a group's crops and windows that show none of its classes; NaN if none was drawn."""

    dataset: str
    group: str
    crops: float
    windows: float

    @property
    def differ(self) -> bool:
        """Whether a prediction meets empty windows that the training hardly shows."""
        return self.windows - self.crops > ALIKE


def empty_views(
    groups: Sequence[Group], preset: TrainingPreset, seed: int, store: Path
) -> list[EmptyViews]:
    """Both shares for each group, from the label layers of a prepared store.

    Args:
        groups: what the training draws from.
        preset: its sampling, patch and windows.
        seed: of the run.
        store: where the cases lie.
    """
    crops: dict[str, list[bool]] = {group.name: [] for group in groups}
    steps = preset.training.steps
    draws = CropDraws(groups, preset.training.sampling, steps, seed)
    for number in range(CROPS):
        drawn = draws.draw(number * steps // CROPS, number)
        record, random = drawn.record, drawn.random
        size = padded_shape(record.shape, preset.training.patch, preset.stride, preset.fills_patch)
        folder, sampling = store / record.dataset / record.case, preset.training.sampling
        points = array_of(folder / "points.npy", mapped=True)
        classes = drawn.group.classes
        centre, _ = choose_centre(points, record, classes, sampling, size, random, drawn.centred_p)
        crop, _ = place_crop(record.shape, size, centre, sampling.jitter, random)
        crops[drawn.group.name].append(_is_empty(_layers(store, record), record, drawn.group, crop))
    return [
        EmptyViews(
            group.dataset,
            group.name,
            _part(crops[group.name]),
            _part(_windows(group, preset, store)),
        )
        for group in groups
    ]


def _windows(group: Group, preset: TrainingPreset, store: Path) -> Iterator[bool]:
    """Whether each window of some cases is empty.

    Of all scans, also those that no crop is of since they show no class: a prediction meets them.
    """
    inference = preset.inference
    for record in group.cases[:: -(-len(group.cases) // CASES)]:
        size = padded_shape(record.shape, inference.patch, preset.stride, preset.fills_patch)
        layers = _layers(store, record)
        starts = (
            window_starts(max(n, s), s, inference.overlap)
            for n, s in zip(record.shape, size, strict=True)
        )
        for corner in product(*starts):
            place = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
            yield _is_empty(layers, record, group, place)


def _layers(store: Path, record: PreparedRecord) -> Array:
    path = store / record.dataset / record.case / "layers.npy"
    layers: Array = array_of(path, mapped=True)
    return layers


def _is_empty(layers: Array, record: PreparedRecord, group: Group, place: Sequence[slice]) -> bool:
    shown = layers[(slice(None), *place)]
    values = _values(record, group)
    return not any(np.isin(shown[layer], list(found)).any() for layer, found in values.items())


def _values(record: PreparedRecord, group: Group) -> dict[int, set[int]]:
    values: dict[int, set[int]] = {}
    for name in group.classes:
        for part in record.classes[name].parts if name in record.classes else ():
            values.setdefault(part.layer, set()).update(part.values)
    return values


def _part(empty: Iterator[bool] | Sequence[bool]) -> float:
    found = list(empty)
    return sum(found) / len(found) if found else float("nan")


def views_text(views: Sequence[EmptyViews]) -> str:
    """The shares as a table for the terminal, in per cent, with a warning where they differ."""
    from tabulate import tabulate

    head = ("dataset", "group", "empty crops %", "empty windows %", "")
    table = [
        (
            view.dataset,
            view.group if view.group != view.dataset else "",
            f"{100 * view.crops:.1f}",
            f"{100 * view.windows:.1f}",
            "crops show less background than prediction" if view.differ else "",
        )
        for view in views
    ]
    return tabulate(table, headers=head, disable_numparse=True)
