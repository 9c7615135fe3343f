"""Two models, or two sets of trainings, against each other: what a claim about them rests on.

A side is one model or several trainings of it (seeds). Scores of a side's trainings are averaged
scan by scan before patients are compared, so that the first interval speaks of these trainings on
other patients. The spread of the trainings' own means says what another training would do; joined,
the interval speaks of another training on other patients. It counts the trainings' disagreement
about single patients twice, so it errs on the wide side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.catalogue import metrics_among
from evaluation.metrics.metric import Metric
from evaluation.protocol import POLICIES
from evaluation.schema import SCORES
from evaluation.tables.building import build_grids
from evaluation.tables.comparison import MIN_PATIENTS, compare, holm
from evaluation.tables.evidence import (
    equivalent_within,
    false_order,
    not_equivalent,
    patients_needed,
    smallest_shown,
    two_sided,
)
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.intervals import student
from evaluation.tables.run_tables import load_grids
from evaluation.tables.samples import Sample, macro, reduce_entry, sample
from evaluation.tables.scores import Expected
from evaluation.tables.targets import overall_targets, universe_of
from evaluation.tables.views import Links


@dataclass(frozen=True)
class Question:
    """What is asked of two sides.

    Args:
        metrics: ids; empty = all that are there and have a better side. They are one family.
        policy: what empty masks count.
        space: grid on which masks were compared.
        margins: metric -> margin of equivalence, in its unit.
        wanted: metric -> true difference that is to be shown; default: the one found.
    """

    metrics: Sequence[str] = ()
    policy: str = "present-only"
    space: str = "native"
    margins: Mapping[str, float] = field(default_factory=dict)
    wanted: Mapping[str, float] = field(default_factory=dict)


def compare_in_run(
    run: Path, first: Sequence[str], second: Sequence[str], question: Question
) -> pd.DataFrame:
    """Compare models of a run; each side is one model or several trainings of it.

    Returns:
        One row for each metric and tolerance, as `compare_sides` gives them.

    Raises:
        BenchError: a model, metric, space or policy that the run does not have.
    """
    loaded = load_grids(run)
    return compare_sides(loaded.all_models, loaded.expected, first, second, question)


def compare_files(
    first: Sequence[Path], second: Sequence[Path], question: Question
) -> pd.DataFrame:
    """Compare score files (`satbench evaluate --out`); each side is one or several trainings.

    Raises:
        BenchError: a file that holds no score rows, or rows of more than one model; files that
            have no metric in common, or whose surfaces are not defined alike.
    """
    sides = ([_rows_of(p) for p in first], [_rows_of(p) for p in second])
    ids = _common_metrics([*first, *second], [*sides[0], *sides[1]], question)
    names = [
        [f"{side}{i}" for i in range(len(rows))] for side, rows in zip("ab", sides, strict=True)
    ]
    rows = pd.concat(
        [
            frame.assign(model=name)
            for own, frames in zip(names, sides, strict=True)
            for name, frame in zip(own, frames, strict=True)
        ],
        ignore_index=True,
    )
    expected = Expected("real", metrics=ids)
    grids = build_grids(rows, expected, Links({}, frozenset(), ""))
    return compare_sides(grids, expected, names[0], names[1], question)


def _common_metrics(
    paths: Sequence[Path], frames: Sequence[pd.DataFrame], question: Question
) -> tuple[str, ...]:
    """What all score files have; those of surfaces must be of one definition."""
    found = [metrics_among(rows.columns) for rows in frames]
    shared = {m.id for m in found[0]}.intersection(*({m.id for m in own} for own in found))
    metrics = [m for m in found[0] if m.id in shared]
    if not metrics:
        each = "; ".join(", ".join(m.id for m in own) or "none" for own in found)
        raise BenchError("the score files have no metric in common", file=paths[1], found=each)
    compared = [m for m in metrics if not question.metrics or m.id in question.metrics]
    if any(m.needs_distances or m.has_tolerance for m in compared):
        # Of another tool's scores it is not known.
        known = {
            name: path
            for path, rows in zip(paths, frames, strict=True)
            for name in rows.get("definition", pd.Series(dtype=str)).dropna().unique()
            if name
        }
        if len(known) > 1:
            raise BenchError(
                "the score files define surfaces and distances otherwise",
                found=", ".join(f"{name} in {path}" for name, path in known.items()),
                hint="score the same predictions with one --definition, or compare others by "
                "--metrics, such as dsc",
            )
    return tuple(m.id for m in metrics)


def _rows_of(path: Path) -> pd.DataFrame:
    try:
        # `01` is no number.
        texts = {c.name: str for c in SCORES.columns if c.type == "text"}
        csv = path.suffix == ".csv"
        rows = pd.read_csv(path, dtype=texts) if csv else pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BenchError("score rows cannot be read", file=path, found=error) from error
    needed = [c.name for c in SCORES.columns if c.name in ("model", "dataset", "case", "class",
              "patient", "status", "space", "tolerance_mm", "kind", "modality")]  # fmt: skip
    lacking = [name for name in needed if name not in rows.columns]
    if lacking or rows["model"].nunique() != 1:
        found = (
            f"no column {', '.join(lacking)}" if lacking else f"{rows['model'].nunique()} models"
        )
        raise BenchError(
            "not the score rows of one model",
            file=path,
            found=found,
            expected="rows as `satbench evaluate --out` writes them",
        )
    for name in ("kind", "reason", "spacing_mm", "modality", "patient", "space"):
        rows[name] = rows[name].fillna("").astype(str)
    return rows


def compare_sides(
    grids: Sequence[ScoreGrid],
    expected: Expected,
    first: Sequence[str],
    second: Sequence[str],
    question: Question,
) -> pd.DataFrame:
    """The overall number of two sides compared, metric by metric.

    Args:
        grids: as from `build_grids`.
        expected: what they should hold.
        first: models of the first side; several are trainings of one.
        second: of the second side; no model of the first.
        question: what is asked.

    Returns:
        One row for each metric (and tolerance). Differences are by how much the first is better,
        in the metric's unit; columns ending in `_trainings` and `_joined` are NaN where a side
        has one training alone.

    Raises:
        BenchError: a model, metric, space or policy that is not there.
    """
    if question.policy not in POLICIES:
        raise BenchError(f"no policy `{question.policy}`", expected=", ".join(POLICIES))
    own = [grid for grid in grids if grid.space == question.space]
    if not own:
        spaces = ", ".join(sorted({grid.space for grid in grids}))
        raise BenchError(f"no scores in the space `{question.space}`", found=spaces or "none")
    for name in (*first, *second):
        if name not in own[0].models:
            hint = did_you_mean(name, own[0].models)
            raise BenchError(f"no scores of a model `{name}`", hint=hint)
    if set(first) & set(second):
        raise BenchError("a model is on both sides", found=", ".join(set(first) & set(second)))
    asked = [(g, m) for g in own for m in g.metrics if m.ranked]
    known = {m.id for _, m in asked}
    for name in (*question.metrics, *question.margins, *question.wanted):
        if name not in known:
            raise BenchError(f"no scores of a metric `{name}` that has a better side",
                             hint=did_you_mean(name, sorted(known)))  # fmt: skip
    rows = [
        _row(grid, expected, metric, first, second, question)
        for grid, metric in asked
        if not question.metrics or metric.id in question.metrics
    ]
    frame = pd.DataFrame(rows)
    at = frame.columns.get_loc("p")
    frame.insert(int(at) + 1, "p_holm", holm(frame["p"].to_numpy(dtype=np.float64)))  # type: ignore[arg-type]
    return frame


def _row(
    grid: ScoreGrid,
    expected: Expected,
    metric: Metric,
    first: Sequence[str],
    second: Sequence[str],
    question: Question,
) -> dict[str, object]:
    universe = universe_of(grid, expected)
    overall = overall_targets(universe)[0]
    models = [grid.models.index(name) for name in (*first, *second)]
    every = sample(grid, metric, question.policy).keep(models, together=True)
    if metric.sign < 0:
        every = every.map([-entry.values for entry in every.entries])
    table = compare(_sides(every, len(first)), universe, overall)
    said = (table.difference[0], table.error[0], table.freedom[0])
    n_patients = table.n_patients[0].astype(np.float64)
    margin = question.margins.get(metric.id, np.nan)
    wanted = question.wanted.get(metric.id, np.nan)
    row: dict[str, object] = {
        "metric": metric.id,
        "tolerance_mm": grid.tolerance_of(metric),
        "difference": table.difference[0, 0],
        "low": table.low[0, 0],
        "high": table.high[0, 0],
        "error": table.error[0, 0],
        "freedom": table.freedom[0, 0],
        "p": table.p[0, 0],
        "effect_size": table.effect_size[0, 0],
        "win_share": table.win_share[0, 0],
        "p_sign_flip": table.p_sign_flip[0, 0],
        "p_false_order": false_order(*said)[0],
        "margin": margin,
        "p_not_equivalent": not_equivalent(*said, margin)[0],
        "equivalent_within": equivalent_within(*said)[0],
        "smallest_shown": smallest_shown(*said[1:])[0],
        "wanted": wanted if np.isfinite(wanted) else abs(table.difference[0, 0]),
    }
    row["n_needed"] = patients_needed(np.array([row["wanted"]]), *said[1:], n_patients)[0]
    row |= _with_trainings(macro(every, universe, overall)[0], len(first), *(x[0] for x in said))
    row |= {"n_patients": int(n_patients[0]), "n_scores": int(table.n_scores[0, 0])}
    row["note"] = "n too small" if n_patients[0] < MIN_PATIENTS else ""
    return row


def _sides(every: Sample, n_first: int) -> Sample:
    """The mean of each side's trainings, scan by scan."""
    entries = []
    for entry in every.entries:
        parts = (entry.values[:, :, :n_first], entry.values[:, :, n_first:])
        values = np.stack([part.mean(axis=2) for part in parts], axis=2)
        missing = entry.missing[:, [0, n_first]]
        entries.append(reduce_entry(entry.dataset, entry.people, entry.person, values, missing))
    return Sample(("a", "b"), every.n_people, tuple(entries))


def _with_trainings(
    numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    n_first: int,
    difference: float,
    error: float,
    freedom: float,
) -> dict[str, object]:
    """The error over trainings, and both errors joined (Satterthwaite over all of them)."""
    sides = [numbers[:n_first], numbers[n_first:]]
    names = ("error_trainings", "freedom_joined", "low_joined", "high_joined", "p_joined")
    found: dict[str, object] = {
        "n_trainings_a": len(sides[0]), "n_trainings_b": len(sides[1]),
        **dict.fromkeys(names, np.nan),
    }  # fmt: skip
    if min(map(len, sides)) < 2:
        return found
    parts = [(float(side.var(ddof=1)) / len(side), len(side) - 1.0) for side in sides]
    trainings = sum(part for part, _ in parts)
    parts.append((error**2 if freedom > 0 else 0.0, freedom))
    joined = sum(part for part, _ in parts)
    below = sum(part**2 / own for part, own in parts if part > 0)
    df = np.array([joined**2 / below if below > 0 else 0.0])
    both = np.array([np.sqrt(joined)])
    half = (student(df) * both)[0]
    p = two_sided(np.array([difference]), both, df)[0]
    values = (np.sqrt(trainings), df[0], difference - half, difference + half, p)
    return found | dict(zip(names, values, strict=True))
