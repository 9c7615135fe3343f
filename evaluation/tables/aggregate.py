"""From score rows to the tables: dataset, class, region, lesion and overall, each with its n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.metrics.metric import Metric
from evaluation.schema import TABLES
from evaluation.tables.aspects import Poor, aspect_targets
from evaluation.tables.comparison import patient_means, size_note
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.intervals import spread
from evaluation.tables.policies import ABSENT, CODE
from evaluation.tables.samples import Floats, Sample, macro, sample
from evaluation.tables.scores import Expected
from evaluation.tables.settings import Block, Setting, block_of, settings_of, with_clean
from evaluation.tables.tally import Tally, ratio, tally
from evaluation.tables.targets import (
    Targets,
    Universe,
    class_targets,
    dataset_targets,
    lesion_targets,
    overall_targets,
    region_targets,
    slot_targets,
    universe_of,
)

_CHUNK = 64


def pooled(values: Sample, universe: Universe, targets: Targets) -> tuple[Floats, Floats]:
    """Means in which every score, and every patient, counts once; each numbers x models."""
    total = np.zeros((len(universe), len(values.models)))
    n = np.zeros(total.shape)
    for entry in values.entries:
        at = universe.start[entry.dataset]
        total[at : at + entry.values.shape[1]] = entry.sums.sum(axis=0)
        n[at : at + entry.values.shape[1]] = entry.counts.sum(axis=0)
    member = targets.member.astype(np.float64)
    by_patient = []
    for start in range(0, len(targets), _CHUNK):
        part = targets.of(np.arange(start, min(start + _CHUNK, len(targets))))
        means, counts = patient_means(values, universe, part)
        by_patient.append(ratio(np.nansum(means, axis=0), (counts > 0).sum(axis=0).astype(float)))
    patients = np.concatenate(by_patient) if by_patient else np.zeros(total[:0].shape)
    return ratio(member @ total, member @ n), patients


def aggregate(
    grid: ScoreGrid, expected: Expected, poor: Poor | None = None
) -> dict[str, pd.DataFrame]:
    """All aggregated tables of one grid.

    Args:
        grid: scores in one space at one tolerance; each of its metrics gives rows.
        expected: what the run should hold, for k of n.
        poor: classes that aspects choose by a model's scores (`poor_classes`); default none.

    Returns:
        Frames of the tables dataset, dataset_class, class, region, lesion, overall, and aspect if
        the run has a class of one.
    """
    universe = universe_of(grid, expected)
    sets = [
        dataset_targets(universe),
        slot_targets(universe),
        class_targets(universe),
        region_targets(universe),
        lesion_targets(universe),
        *aspect_targets(universe, expected.aspects, poor or {}),
        *overall_targets(universe),
    ]
    blocks: dict[str, list[Block]] = {targets.table: [] for targets in sets}
    for setting in settings_of(grid):
        before: tuple[Sample, bool] | None = None
        for metric in grid.metrics:
            values = sample(grid, metric, setting.policy, setting.view, setting.coverage)
            single = metric.needs_instances
            # Most metrics score the same pairs, so that the same stands behind their numbers.
            if before is None or before[1] != single or not values.scores_as(before[0]):
                tallies = [tally(grid, values, universe, t, setting.view, single) for t in sets]
            before = values, single
            reading = _Reading(grid, universe, setting, metric)
            for number, targets in enumerate(sets):
                ends = spread(values, universe, targets).interval(metric.low, metric.high)
                numbers = (macro(values, universe, targets), *ends)
                parts, n = blocks[targets.table], tallies[number]
                parts.append(reading.block(targets, "macro", numbers, n))
                # Of the overall numbers, only the first has pooled ones beside it.
                if targets.table == "overall" and targets is not sets[-3]:
                    continue
                for name, means in zip(
                    ("scans", "patients"), pooled(values, universe, targets), strict=True
                ):
                    named = targets
                    if targets.table == "overall":
                        named = replace(targets, keys=pd.DataFrame({"statistic": [name]}))
                    parts.append(reading.block(named, name, (means,), n))
    return {name: with_clean(grid, parts, TABLES[name]) for name, parts in blocks.items()}


@dataclass(frozen=True)
class _Reading:
    """One way to read the rows, for one metric."""

    grid: ScoreGrid
    universe: Universe
    setting: Setting
    metric: Metric

    def block(
        self, targets: Targets, aggregation: str, numbers: Sequence[Floats], counted: Tally
    ) -> Block:
        """Rows of one table, one for each number and model.

        Args:
            targets: the table's numbers.
            aggregation: how they are made.
            numbers: numbers x models: values, and the ends of their intervals if there are any.
            counted: what stands behind them.
        """
        grid, setting = self.grid, self.setting
        n_models = len(grid.models)
        n = len(targets) * n_models
        columns: dict[str, object] = {
            str(name): np.repeat(values.to_numpy(), n_models)
            for name, values in targets.keys.items()
        }
        columns |= {
            "data_kind": grid.data_kind,
            "model": np.tile(np.array(grid.models, dtype=object), len(targets)),
            "policy": setting.policy,
            "space": grid.space,
            "view": setting.view,
            "coverage": setting.coverage,
            "aggregation": aggregation,
            "metric": self.metric.id,
            "tolerance_mm": grid.tolerance_of(self.metric),
        }
        if targets.table == "dataset_class":
            kinds = np.full((len(self.universe), n_models), "", dtype=object)
            for entry in grid.entries:
                at = self.universe.start[entry.dataset]
                kinds[at : at + len(entry.slots)] = entry.kinds
            columns["kind"] = kinds.ravel()
        for place, name in enumerate(("value", "value_low", "value_high")):
            columns[name] = numbers[place].ravel() if place < len(numbers) else np.nan
        names = TABLES[targets.table].names
        columns |= {name: array.ravel() for name, array in vars(counted).items() if name in names}
        columns["note"] = size_note(counted.n_patients.ravel())
        if "complete" in names:
            columns["complete"] = np.tile(_complete(grid, setting.view, n_models), len(targets))
        kept = counted.known.ravel()
        if self.metric.needs_instances:
            # Nobody counts single structures of most classes.
            kept &= counted.n_scores.ravel() > 0
        return block_of(columns, n, kept)


def _complete(grid: ScoreGrid, view: str, n_models: int) -> NDArray[np.bool_]:
    """Models that answered every class of every test scan for which there is data."""
    complete = np.ones(n_models, dtype=bool)
    for entry in grid.entries:
        kept = entry.in_clean if view == "clean" else np.ones(len(entry.cases), dtype=bool)
        status = entry.status[kept][:, entry.slots.preferred]
        unanswered = np.isin(status, [ABSENT, CODE["unsupported"], CODE["prediction_missing"]])
        complete &= ~unanswered.any(axis=(0, 1))
    return complete
