"""The table `completeness`: what is there of every declared model on every declared entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from evaluation.schema import COMPLETENESS
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.policies import ABSENT, CODE
from evaluation.tables.scores import Expected


def completeness(grids: Sequence[ScoreGrid], expected: Expected) -> pd.DataFrame:
    """The table `completeness`: every model on every entry, present or not.

    A model that is not measured in one of the spaces or at one of the tolerances is not run there:
    the least complete of them is what counts. `own` is left aside, which not every model has.
    """
    found = {(grid.space, grid.tolerance_mm): grid for grid in grids}
    rows = []
    for model in expected.models:
        for name in expected.entries:
            n_scope = len(expected.classes.get(name, ()))
            counted = {
                at: _counted(found.get(at), model, name, n_scope) for at in _declared(expected)
            }
            least = min(counted.values(), key=lambda c: (c.n_classes > 0, c.n_cases))
            not_there = [at for at, count in counted.items() if not count.n_classes]
            status, reason = _status(least, expected, name)
            if status == "not run" and len(not_there) < len(counted):
                reason = "no score rows " + ", ".join(_at(*at) for at in not_there)
            numbers = (least.n_cases, expected.n_planned(name), least.n_classes, least.n_scope)
            rows.append((expected.data_kind, model, name, status, reason, *numbers))
    return pd.DataFrame(rows, columns=COMPLETENESS.names)


def _declared(expected: Expected) -> list[tuple[str, float]]:
    """Spaces and tolerances in which every model should have rows."""
    spaces = [space for space in expected.spaces if space != "own"] or ["own"]
    return [(space, tolerance) for space in spaces for tolerance in expected.tolerances_mm]


def _at(space: str, tolerance_mm: float) -> str:
    return f"at {tolerance_mm:g} mm ({space})"


def lines_of_models_not_run(grids: Sequence[ScoreGrid], expected: Expected) -> Iterator[str]:
    """Lines on models that have no row at all in a declared space and tolerance."""
    there = {(grid.space, grid.tolerance_mm): grid.models for grid in grids}
    for at in _declared(expected):
        if lacking := [m for m in expected.models if m not in there.get(at, ())]:
            yield f"not run {_at(*at)}: {', '.join(lacking)}"


@dataclass(frozen=True)
class _Counted:
    """One model on one entry: scans with an answer, of them without some class, and classes."""

    n_cases: int
    n_partial: int
    n_classes: int
    n_scope: int


def _counted(grid: ScoreGrid | None, model: str, name: str, n_scope: int) -> _Counted:
    entries = [] if grid is None else [e for e in grid.entries if e.dataset == name]
    if grid is None or not entries or model not in grid.models:
        return _Counted(0, 0, 0, n_scope)
    (entry,) = entries
    status = entry.status[:, entry.slots.preferred, grid.models.index(model)]
    left_out = (status == ABSENT) | (status == CODE["unsupported"])
    missing = status == CODE["prediction_missing"]
    answered = (~(missing | left_out)).any(axis=1)
    return _Counted(
        n_cases=int(answered.sum()),
        n_partial=int((answered & missing.any(axis=1)).sum()),
        n_classes=int((~left_out.all(axis=0)).sum()),
        n_scope=status.shape[1],
    )


def _status(counted: _Counted, expected: Expected, name: str) -> tuple[str, str]:
    if name in expected.not_run:
        return "no data", expected.not_run[name]
    if not counted.n_classes:
        return "not run", "no score rows, or no class supported"
    reasons = []
    n_planned = expected.n_planned(name)
    if counted.n_cases < n_planned:
        reasons.append(f"predictions for {counted.n_cases} of {n_planned} scans")
    if name in expected.gaps:
        reasons.append(f"not the model's: {expected.gaps[name]}")
    if counted.n_partial:
        reasons.append(f"answers for {counted.n_partial} scans lack a class")
    if counted.n_classes < counted.n_scope:
        reasons.append(f"{counted.n_classes} of {counted.n_scope} classes supported")
    return ("incomplete" if reasons else "complete"), "; ".join(reasons)
