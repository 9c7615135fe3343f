"""From score rows to the tables: dataset, class, region, lesion and overall, each with its n."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.schema import TABLES
from evaluation.tables.comparison import patient_means, size_note
from evaluation.tables.grid import Grid
from evaluation.tables.policies import ABSENT, CODE
from evaluation.tables.samples import Floats, Sample, macro, sample
from evaluation.tables.scores import Expected
from evaluation.tables.settings import Block, Setting, block_of, settings_of, with_clean
from evaluation.tables.statistics import N_BOOTSTRAPS, bootstrap, patient_weights
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
    grid: Grid, expected: Expected, n_draws: int = N_BOOTSTRAPS, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """All aggregated tables of one grid.

    Args:
        grid: scores in one space at one tolerance.
        expected: what the run should hold, for k of n.
        n_draws: bootstraps for the intervals of macro means.
        seed: of the bootstraps.

    Returns:
        Frames of the tables dataset, dataset_class, class, region, lesion and overall.
    """
    universe = universe_of(grid, expected)
    sets = [
        dataset_targets(universe),
        slot_targets(universe),
        class_targets(universe),
        region_targets(universe),
        lesion_targets(universe),
        *overall_targets(universe),
    ]
    blocks: dict[str, list[Block]] = {targets.table: [] for targets in sets}
    weights: NDArray[np.float32] | None = None
    for setting in settings_of(grid):
        samples = {
            metric: sample(grid, metric, setting.policy, setting.view, setting.coverage)
            for metric in ("dsc", "nsd")
        }
        if weights is None:
            weights = patient_weights(samples["dsc"], n_draws, seed)
        draws = {m: bootstrap(samples[m], universe, sets, weights) for m in samples}
        for number, targets in enumerate(sets):
            counted = tally(grid, samples["dsc"], universe, targets, setting.view)
            numbers = {}
            pools = {}
            for metric, values in samples.items():
                low, high = draws[metric][number].interval()
                numbers[metric] = macro(values, universe, targets)
                numbers[f"{metric}_low"], numbers[f"{metric}_high"] = low, high
                pools[metric] = pooled(values, universe, targets)
            parts = blocks[targets.table]
            parts.append(_block(grid, universe, targets, setting, "macro", numbers, counted))
            for position, name in enumerate(("scans", "patients")):
                if targets.table == "overall" and targets is not sets[-3]:
                    continue
                means = {metric: pools[metric][position] for metric in samples}
                named = targets
                if targets.table == "overall":
                    named = replace(targets, keys=pd.DataFrame({"statistic": [name]}))
                parts.append(_block(grid, universe, named, setting, name, means, counted))
    return {name: with_clean(grid, parts, TABLES[name]) for name, parts in blocks.items()}


def _block(
    grid: Grid,
    universe: Universe,
    targets: Targets,
    setting: Setting,
    aggregation: str,
    numbers: Mapping[str, Floats],
    counted: Tally,
) -> Block:
    """Rows of one table under one setting, one for each number and model."""
    n_models = len(grid.models)
    n = len(targets) * n_models
    columns: dict[str, object] = {
        str(name): np.repeat(values.to_numpy(), n_models) for name, values in targets.keys.items()
    }
    columns |= {
        "data_kind": grid.data_kind,
        "model": np.tile(np.array(grid.models, dtype=object), len(targets)),
        "policy": setting.policy,
        "space": grid.space,
        "tolerance_mm": grid.tolerance_mm,
        "view": setting.view,
        "coverage": setting.coverage,
        "aggregation": aggregation,
    }
    if targets.table == "dataset_class":
        kinds = np.full((len(universe), n_models), "", dtype=object)
        for entry in grid.entries:
            at = universe.start[entry.dataset]
            kinds[at : at + len(entry.slots)] = entry.kinds
        columns["kind"] = kinds.ravel()
    names = TABLES[targets.table].names
    for name in ("dsc", "nsd", "dsc_low", "dsc_high", "nsd_low", "nsd_high"):
        columns[name] = numbers[name].ravel() if name in numbers else np.nan
    columns |= {name: array.ravel() for name, array in vars(counted).items() if name in names}
    columns["note"] = size_note(counted.n_patients.ravel())
    if "complete" in names:
        columns["complete"] = np.tile(_complete(grid, setting.view, n_models), len(targets))
    return block_of(columns, n, counted.known.ravel())


def _complete(grid: Grid, view: str, n_models: int) -> NDArray[np.bool_]:
    """Models that answered every class of every test scan for which there is data."""
    complete = np.ones(n_models, dtype=bool)
    for entry in grid.entries:
        kept = entry.in_clean if view == "clean" else np.ones(len(entry.cases), dtype=bool)
        status = entry.status[kept][:, entry.slots.preferred]
        unanswered = np.isin(status, [ABSENT, CODE["unsupported"], CODE["prediction_missing"]])
        complete &= ~unanswered.any(axis=(0, 1))
    return complete
