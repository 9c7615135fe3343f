"""From score rows to the tables: dataset, class, region, lesion and overall, each with its n."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.schema import COVERAGES, POLICIES, TABLES, Table
from evaluation.tables.comparison import patient_means
from evaluation.tables.grid import Grid
from evaluation.tables.policies import ABSENT, CODE, false_positives
from evaluation.tables.samples import Floats, Sample, macro, sample
from evaluation.tables.scores import Expected
from evaluation.tables.statistics import N_BOOTSTRAPS, bootstrap, patient_weights
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

Counts = NDArray[np.int64]
_CHUNK = 64


@dataclass(frozen=True)
class Setting:
    """One way to read the rows."""

    policy: str
    view: str
    coverage: str


def settings_of(grid: Grid) -> Iterator[Setting]:
    """Policies x views x coverages; the last only where some model leaves something out."""
    whole = all(
        not ((e.status == CODE["unsupported"]) | (e.status == ABSENT))[:, e.slots.preferred].any()
        for e in grid.entries
    )
    for policy in POLICIES:
        for view in ("paper", "clean") if has_leaks(grid) else ("paper",):
            for coverage in ("supported",) if whole else COVERAGES:
                yield Setting(policy, view, coverage)


def has_leaks(grid: Grid) -> bool:
    """Whether the view `clean` leaves anything out."""
    return not all(entry.in_clean.all() for entry in grid.entries)


@dataclass(frozen=True)
class Tally:
    """How much stands behind each number; arrays are numbers x models."""

    n_scores: Counts
    n_cases: Counts
    n_cases_expected: Counts
    n_patients: Counts
    n_classes: Counts
    n_classes_expected: Counts
    n_entries: Counts
    n_entries_expected: Counts
    n_missing: Counts
    n_absent: Counts
    false_positive_rate: Floats
    false_positive_ml: Floats
    known: NDArray[np.bool_]


def tally(grid: Grid, values: Sample, universe: Universe, targets: Targets, view: str) -> Tally:
    """Count scans, patients, classes and false positives behind each number of a table."""
    n_models = len(grid.models)
    shape = (len(targets), n_models)
    zero = {name: np.zeros(shape) for name in ("scores", "cases", "missing", "absent")}
    zero |= {name: np.zeros(shape) for name in ("classes", "entries", "positive", "ml", "known")}
    cases_expected = np.zeros(len(targets), dtype=np.int64)
    people = np.zeros((len(targets), len(grid.people), n_models), dtype=bool)
    for entry, scored in zip(grid.entries, values.entries, strict=True):
        at = universe.start[entry.dataset]
        local = targets.member[:, at : at + len(entry.slots)]
        rows = np.flatnonzero(local.any(axis=1))
        if not len(rows):
            continue
        chosen = local[rows].astype(np.float32)
        kept = entry.in_clean if view == "clean" else np.ones(len(entry.cases), dtype=bool)
        finite = np.isfinite(scored.values)
        absent, wrong = false_positives(entry.status, entry.prediction_voxels)
        absent[~kept] = wrong[~kept] = False
        volume = np.where(wrong, entry.prediction_voxels * entry.voxel_ml[:, None, None], 0.0)
        missing = (entry.status == CODE["prediction_missing"]) & finite
        by_slot = {
            "scores": finite.sum(axis=0),
            "missing": missing.sum(axis=0),
            "absent": absent.sum(axis=0),
            "positive": wrong.sum(axis=0),
            "ml": volume.sum(axis=0),
            "classes": finite.any(axis=0),
            "known": (entry.status != ABSENT).any(axis=0),
        }
        for name, counts in by_slot.items():
            zero[name][rows] += chosen @ counts
        seen = _any(chosen, finite)
        zero["cases"][rows] += seen.sum(axis=1)
        zero["entries"][rows] += seen.any(axis=1)
        cases_expected[rows] += int(kept.sum())
        people[np.ix_(rows, scored.people)] |= _any(chosen, scored.counts > 0)
    entries_expected = [len(set(universe.dataset[m & universe.preferred])) for m in targets.member]
    classes_expected = (targets.member & universe.preferred).sum(axis=1)
    n = {name: array.round().astype(np.int64) for name, array in zero.items() if name != "ml"}
    return Tally(
        n_scores=n["scores"],
        n_cases=n["cases"],
        n_cases_expected=_for_all(cases_expected, n_models),
        n_patients=people.sum(axis=1),
        n_classes=n["classes"],
        n_classes_expected=_for_all(classes_expected, n_models),
        n_entries=n["entries"],
        n_entries_expected=_for_all(np.array(entries_expected, dtype=np.int64), n_models),
        n_missing=n["missing"],
        n_absent=n["absent"],
        false_positive_rate=_ratio(zero["positive"], zero["absent"]),
        false_positive_ml=_ratio(zero["ml"], zero["positive"]),
        known=n["known"] > 0,
    )


def _any(member: NDArray[np.float32], flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Numbers x slots and units x slots x models -> numbers x units x models."""
    units, slots, models = flags.shape
    flat = flags.transpose(1, 0, 2).reshape(slots, -1).astype(np.float32)
    return (member @ flat > 0).reshape(-1, units, models)


def _for_all(values: Counts, n_models: int) -> Counts:
    return np.repeat(values[:, None], n_models, axis=1).astype(np.int64)


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


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
        by_patient.append(_ratio(np.nansum(means, axis=0), (counts > 0).sum(axis=0).astype(float)))
    patients = np.concatenate(by_patient) if by_patient else np.zeros(total[:0].shape)
    return _ratio(member @ total, member @ n), patients


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


Block = dict[str, NDArray[Any]]
"""Some rows of a table, column by column; frames are dear to build in small pieces."""


def with_clean(grid: Grid, blocks: Sequence[Block], table: Table) -> pd.DataFrame:
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
    if "complete" in names:
        columns["complete"] = np.tile(_complete(grid, setting.view, n_models), len(targets))
    return block_of(columns, n, counted.known.ravel())


def _complete(grid: Grid, view: str, n_models: int) -> NDArray[np.bool_]:
    """Models that answered every class of every test scan for which there is data."""
    complete = np.ones(n_models, dtype=bool)
    for entry in grid.entries:
        kept = entry.in_clean if view == "clean" else np.ones(len(entry.cases), dtype=bool)
        status = entry.status[kept][:, entry.slots.preferred]
        complete &= ~((status == ABSENT) | (status == CODE["unsupported"])).any(axis=(0, 1))
    return complete
