"""How much stands behind each number: scans, patients, classes, and false positives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.tables.grid import ScoreGrid
from evaluation.tables.policies import ABSENT, false_positives
from evaluation.tables.samples import Floats, Sample
from evaluation.tables.targets import Targets, Universe

Counts = NDArray[np.int64]


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


def tally(
    grid: ScoreGrid,
    values: Sample,
    universe: Universe,
    targets: Targets,
    view: str,
    single: bool = False,
) -> Tally:
    """Count scans, patients, classes and false positives behind each number of a table.

    Args:
        grid: scores.
        values: what enters the means.
        universe: slots.
        targets: the table's numbers.
        view: test cases.
        single: of single structures, so that only the classes where these are counted are expected.
    """
    wanted = universe.single() if single else np.ones(len(universe), dtype=bool)
    member = targets.member & wanted
    n_models = len(grid.models)
    shape = (len(targets), n_models)
    zero = {name: np.zeros(shape) for name in ("scores", "cases", "missing", "absent")}
    zero |= {name: np.zeros(shape) for name in ("entries", "positive", "ml", "known")}
    scored_slots = np.zeros((len(universe), n_models), dtype=bool)
    cases_expected = _cases_expected(grid, universe, member, view)
    people = np.zeros((len(targets), len(grid.people), n_models), dtype=bool)
    for entry, scored in zip(grid.entries, values.entries, strict=True):
        at = universe.start[entry.dataset]
        local = member[:, at : at + len(entry.slots)]
        rows = np.flatnonzero(local.any(axis=1))
        if not len(rows):
            continue
        chosen = local[rows].astype(np.float32)
        kept = entry.in_clean if view == "clean" else np.ones(len(entry.cases), dtype=bool)
        finite = np.isfinite(scored.values)
        scored_slots[at : at + len(entry.slots)] = finite.any(axis=0)
        absent, wrong = false_positives(entry.status, entry.prediction_voxels)
        absent[~kept] = wrong[~kept] = False
        volume = np.where(wrong, entry.prediction_voxels * entry.voxel_ml[:, None, None], 0.0)
        by_slot = {
            "scores": finite.sum(axis=0),
            "missing": scored.missing,
            "absent": absent.sum(axis=0),
            "positive": wrong.sum(axis=0),
            "ml": volume.sum(axis=0),
            "known": (entry.status != ABSENT).any(axis=0),
        }
        for name, counts in by_slot.items():
            zero[name][rows] += chosen @ counts
        seen = _any(chosen, finite)
        zero["cases"][rows] += seen.sum(axis=1)
        zero["entries"][rows] += seen.any(axis=1)
        people[np.ix_(rows, scored.people)] |= _any(chosen, scored.counts > 0)
    asked = targets.expected
    wanted &= universe.preferred
    entries_expected = [len(set(universe.dataset[m & wanted])) for m in asked.member]
    classes_expected = asked.count_classes(wanted[:, None])[:, 0]
    n = {name: array.round().astype(np.int64) for name, array in zero.items() if name != "ml"}
    return Tally(
        n_scores=n["scores"],
        n_cases=n["cases"],
        n_cases_expected=_for_all(cases_expected, n_models),
        n_patients=people.sum(axis=1),
        n_classes=targets.count_classes(scored_slots),
        n_classes_expected=_for_all(classes_expected, n_models),
        n_entries=n["entries"],
        n_entries_expected=_for_all(np.array(entries_expected, dtype=np.int64), n_models),
        n_missing=n["missing"],
        n_absent=n["absent"],
        false_positive_rate=ratio(zero["positive"], zero["absent"]),
        false_positive_ml=ratio(zero["ml"], zero["positive"]),
        known=n["known"] > 0,
    )


def _cases_expected(
    grid: ScoreGrid, universe: Universe, member: NDArray[np.bool_], view: str
) -> Counts:
    """Test scans by the plan behind each number; those that are linked are not in `clean`."""
    n_scans = dict(universe.n_planned)
    for entry in grid.entries:
        linked = int((~entry.in_clean).sum()) if view == "clean" else 0
        n_scans[entry.dataset] = max(n_scans.get(entry.dataset, 0), len(entry.cases)) - linked
    expected = np.zeros(len(member), dtype=np.int64)
    for dataset, n in n_scans.items():
        expected[member[:, universe.dataset == dataset].any(axis=1)] += n
    return expected


def _any(member: NDArray[np.float32], flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Numbers x slots and units x slots x models -> numbers x units x models."""
    units, slots, models = flags.shape
    flat = flags.transpose(1, 0, 2).reshape(slots, -1).astype(np.float32)
    return (member @ flat > 0).reshape(-1, units, models)


def _for_all(values: Counts, n_models: int) -> Counts:
    return np.repeat(values[:, None], n_models, axis=1).astype(np.int64)


def ratio(above: Floats, below: Floats) -> Floats:
    """Element by element; NaN where there is nothing below."""
    ratio: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio
