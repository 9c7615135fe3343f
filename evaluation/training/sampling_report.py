"""How often a training draws each dataset, group and class, before it starts.

Exactly from the weights, averaged over the curriculum, and by drawing as the training draws.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from evaluation.config import RunConfig
from evaluation.datasets.registry import entry_ids
from evaluation.datasets.scope import classes_in_scope
from evaluation.files.reading import array_of
from evaluation.files.spreadsheets import write_sheet
from evaluation.training.draws import CropDraws, Group, entry_groups, training_groups
from evaluation.training.grid import padded_shape
from evaluation.training.sampling import Floats, choose_centre, class_chances, joined_chances
from evaluation.training.settings import TrainingPreset
from evaluation.training.store import PreparedEntry, PreparedRecord, read_index
from evaluation.training.validation import held_out_cases
from evaluation.workflow.loads import run_loads

REPORT_FILE = "sampling.csv"
# A crop without a foreground voxel has no class that it is centred on.
NO_CLASS = "(none)"


@dataclass(frozen=True)
class Share:
    """How often something is drawn, as a part of all crops.

    Attributes:
        level: what the row is about; the rows of a level sum to one.
        dataset: id of the entry.
        group: the entry or one of its specialists; empty for a dataset.
        name: the class that a crop is centred on; empty for datasets and groups.
        expected: from the weights; NaN where centres compete, which has no closed form.
        simulated: in a simulation; NaN without one.
    """

    level: Literal["dataset", "group", "class"]
    dataset: str
    group: str
    name: str
    expected: float
    simulated: float


def mean_chances(groups: Sequence[Group], steps: int) -> Floats:
    """Chance of each group over a whole training: the mean of `joined_chances` over its steps."""
    weights, joins = [g.weight for g in groups], [g.joins for g in groups]
    # Chances change only where a group joins.
    changes = sorted({0, steps, *(min(steps, math.ceil(join * steps)) for join in joins)})
    total = np.zeros(len(groups))
    for first, stop in pairwise(changes):
        total += (stop - first) * joined_chances(weights, joins, first / steps)
    mean: Floats = total / steps
    return mean


def run_groups(store: Path, preset: TrainingPreset) -> list[Group]:
    """The groups that a run's training draws from."""
    index = read_index(store)
    held_out = held_out_cases(index, preset.training.validation)
    return training_groups(store, index, preset.training, held_out)


def planned_groups(config: RunConfig, preset: TrainingPreset) -> list[Group]:
    """The groups of a configuration whose data is not there: expected counts of the cards.

    The extent of the labels is not known, so every scan counts as one patch, and repeats follow
    the number of classes alone.
    """
    groups: list[Group] = []
    for load in run_loads(config, entry_ids(config))[0]:
        card = load.card
        names = tuple(entry.name for entry in classes_in_scope(card, config))
        entry = PreparedEntry(
            dataset=card.id,
            modality=card.modality,
            classes=names,
            specialists=card.subsets,
            cases=(),
        )
        scan = PreparedRecord(
            source="", dataset=card.id, case="planned", modality=card.modality, shape=(1, 1, 1),
            classes={}, not_annotated=(), points={}, label_size=(0, 0, 0),
        )  # fmt: skip
        groups += entry_groups(entry, [scan] * load.n_train, preset.training)
    return groups


def shares(
    groups: Sequence[Group],
    preset: TrainingPreset,
    seed: int,
    draws: int,
    store: Path | None = None,
) -> list[Share]:
    """Shares of datasets and groups, and with a prepared store those of classes.

    Args:
        groups: what the training draws from.
        preset: its sampling and steps.
        seed: of the run.
        draws: crops to simulate, spread over all steps; 0 for none.
        store: where the points of the cases lie.
    """
    chances = mean_chances(groups, preset.training.steps)
    expected: dict[tuple[str, str], float] = {}
    for group, chance in zip(groups, chances, strict=True):
        expected[group.dataset, group.name] = float(chance)
    drawn = _simulate(groups, preset, seed, draws, store)
    seen = Counter[tuple[str, str]]()
    for (dataset, name, _), count in drawn.items():
        seen[dataset, name] += count

    def part(count: int) -> float:
        return count / draws if draws else math.nan

    rows: list[Share] = []
    for dataset in dict.fromkeys(group.dataset for group in groups):
        names = [name for d, name in expected if d == dataset]
        summed = sum(expected[dataset, name] for name in names)
        count = sum(seen[dataset, name] for name in names)
        rows.append(Share("dataset", dataset, "", "", summed, part(count)))
    for (dataset, name), chance in expected.items():
        rows.append(Share("group", dataset, name, "", chance, part(seen[dataset, name])))
    if store is None:
        return rows
    known = preset.training.sampling.density_candidates == 1
    for group, chance in zip(groups, chances, strict=True):
        for name, share in _classes(group, preset).items():
            exact = float(chance) * share if known else math.nan
            count = drawn[group.dataset, group.name, name]
            rows.append(Share("class", group.dataset, group.name, name, exact, part(count)))
    return rows


def _classes(group: Group, preset: TrainingPreset) -> dict[str, float]:
    """Chance of each class of a group to be what a crop is centred on."""
    sampling = preset.training.sampling
    total = dict.fromkeys(group.classes, 0.0)
    nothing = 0.0
    for record, weight, part in zip(group.cases, group.case_weights, group.centred, strict=True):
        chances = class_chances(record, group.classes, sampling.class_first_p)
        centred = weight * part if chances else 0.0
        for name, chance in chances.items():
            total[name] += centred * chance
        nothing += weight - centred
    return {**total, NO_CLASS: nothing} if nothing else total


def _simulate(
    groups: Sequence[Group], preset: TrainingPreset, seed: int, draws: int, store: Path | None
) -> Counter[tuple[str, str, str]]:
    training = preset.training
    ways = CropDraws(groups, training.sampling, training.steps, seed)
    found = Counter[tuple[str, str, str]]()
    points: dict[Path, np.ndarray[tuple[int, ...], np.dtype[np.uint16]]] = {}
    for number in range(draws):
        drawn = ways.draw(number * training.steps // draws, number)
        group, record, name = drawn.group, drawn.record, None
        if store is not None:
            folder = store / record.dataset / record.case
            if folder not in points:
                points[folder] = array_of(folder / "points.npy", mapped=True)
            size = padded_shape(record.shape, training.patch, preset.stride, preset.fills_patch)
            _, name = choose_centre(
                points[folder], record, group.classes, training.sampling, size, drawn.random,
                drawn.centred_p,
            )  # fmt: skip
        found[group.dataset, group.name, name or NO_CLASS] += 1
    return found


def write_report(rows: Sequence[Share], path: Path) -> None:
    """The shares as CSV; what is not known stays empty."""
    names = [field.name for field in fields(Share)]
    write_sheet(path, pd.DataFrame([astuple(row) for row in rows], columns=names), "%.6f")


def report_text(rows: Sequence[Share]) -> str:
    """The shares as a table for the terminal, in per cent."""
    from tabulate import tabulate

    head = ("dataset", "group", "class", "expected %", "simulated %")
    table = [
        (
            row.dataset,
            row.group if row.group != row.dataset else "",
            row.name,
            *("" if math.isnan(v) else f"{100 * v:.2f}" for v in (row.expected, row.simulated)),
        )
        for row in rows
        if row.level != "group" or row.group != row.dataset
    ]
    return tabulate(table, headers=head, disable_numparse=True)
