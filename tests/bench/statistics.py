"""Time the statistics on rows of the whole collection's size, beside a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter

import numpy as np
import typer

from evaluation.metrics.catalogue import find_metric
from evaluation.tables.building import build_grids
from evaluation.tables.decisions import scopes_of
from evaluation.tables.intervals import spread
from evaluation.tables.samples import Sample, macro, sample
from evaluation.tables.statistics import bootstrap, patient_weights
from evaluation.tables.targets import Targets, Universe, universe_of
from evaluation.tables.views import find_links
from tests.bench.running import run, tell
from tests.bench.score_rows import collection_shape, synthetic_scores

LIMIT_S = 5.0
_LOOP_DRAWS = 3


def bench(n_models: int, scale: float, n_draws: int, repeats: int) -> Iterator[str]:
    """Lines of the benchmark's report.

    The time counts everything after the rows are in memory: dense arrays, policy, draws, and
    the intervals of overall, every entry and every region, for one metric and one policy. The
    peer draws patients and computes every mean anew in each draw; it is timed on a few draws
    and scaled.
    """
    models = {f"model-{i}": 0.005 * i for i in range(n_models)}
    scores = synthetic_scores(models, collection_shape(scale))
    links = find_links(scores.expected.splits, None)
    per_model = len(scores.rows) // n_models
    yield f"{n_models} models x {per_model} rows, {n_draws} bootstraps, {repeats} repeats"

    def whole() -> None:
        grid = build_grids(scores.rows, scores.expected, links)[0]
        values = sample(grid, find_metric("dsc"), "present-only")
        universe = universe_of(grid, scores.expected)
        tables = [scope.targets for scope in scopes_of(universe)]
        bootstrap(values, universe, tables, patient_weights(values, n_draws))
        for table in tables:
            spread(values, universe, table).interval(0, 1)

    grid = build_grids(scores.rows, scores.expected, links)[0]
    values, universe = (
        sample(grid, find_metric("dsc"), "present-only"),
        universe_of(grid, scores.expected),
    )
    tables = [scope.targets for scope in scopes_of(universe)]

    def draws_only() -> None:
        bootstrap(values, universe, tables, patient_weights(values, n_draws))
        for table in tables:
            spread(values, universe, table).interval(0, 1)

    def loop() -> None:
        _loop(values, universe, tables, _LOOP_DRAWS)

    whole()
    times: dict[str, list[float]] = {"rows to intervals": [], "draws and intervals": [], "loop": []}
    for _ in range(repeats):
        for name, timed in (
            ("rows to intervals", whole),
            ("draws and intervals", draws_only),
            ("loop", loop),
        ):
            times[name].append(_seconds(timed))
    total = median(times["rows to intervals"])
    ours = median(times["draws and intervals"])
    peer = median(times["loop"]) * n_draws / _LOOP_DRAWS
    yield f"rows to intervals: {total:.2f} s (limit {LIMIT_S:g} s)"
    yield f"draws and intervals alone: {ours:.2f} s"
    yield f"loop over draws: {peer:.1f} s (from {_LOOP_DRAWS} draws), {peer / ours:.0f} times ours"


def _seconds(run: Callable[[], None]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def _loop(values: Sample, universe: Universe, tables: list[Targets], n_draws: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(n_draws):
        resampled = []
        for entry in values.entries:
            people = np.arange(len(entry.people))
            chosen = generator.choice(people, len(people))
            rows = np.concatenate([np.flatnonzero(entry.person == person) for person in chosen])
            resampled.append(entry.values[rows])
        entries = [
            type(entry)(
                entry.dataset,
                np.arange(len(drawn)),
                drawn,
                np.arange(len(drawn)),
                np.nan_to_num(drawn),
                np.isfinite(drawn).astype(float),
                entry.missing,
            )
            for entry, drawn in zip(values.entries, resampled, strict=True)
        ]
        drawn_sample = Sample(values.models, values.n_people, tuple(entries))
        for table in tables:
            macro(drawn_sample, universe, table)


def bench_statistics(
    models: int = typer.Option(10, "--models", min=1, help="Number of models."),
    scale: float = typer.Option(1.0, "--scale", min=0.01, help="Times the collection's scans."),
    draws: int = typer.Option(1000, "--draws", min=1, help="Bootstraps."),
    repeats: int = typer.Option(5, "--repeats", min=1, help="Times; the median is printed."),
) -> None:
    """Time the bootstrap of overall, dataset and region means on rows of the collection's size."""
    tell(bench(models, scale, draws, repeats), None, None)


if __name__ == "__main__":
    run(bench_statistics)
