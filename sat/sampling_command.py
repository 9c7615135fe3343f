"""`satbench sat sampling`: what a training will draw, before it starts."""

from __future__ import annotations

from pathlib import Path

import typer


def sampling(
    run: Path | None = typer.Option(None, "--run", help="A run whose cases are prepared."),
    config: Path | None = typer.Option(
        None, "--config", help="Or a configuration; planned from the cards' expected counts."
    ),
    beside: str | None = typer.Option(
        None, "--beside", help="A preset whose shares of the datasets stand beside."
    ),
    draws: int = typer.Option(20_000, "--draws", min=0, help="Crops to simulate."),
    out: Path | None = typer.Option(
        None, "--out", help="CSV; in the model's folder of the run by default."
    ),
) -> None:
    """How often the training draws each dataset, group and class, before it starts.

    Of a run whose cases are prepared also how many crops, and windows of a prediction, show no
    target: a training that shows none learns to find targets everywhere.
    """
    from evaluation.config import load_frozen
    from evaluation.errors import BenchError
    from evaluation.models.presets import preset_in_use
    from evaluation.paths import RunPaths
    from evaluation.training.empty_views import empty_views, views_text
    from evaluation.training.sampling_report import (
        REPORT_FILE,
        planned_groups,
        report_text,
        run_groups,
        shares,
        write_report,
    )
    from evaluation.training.store import store_folder
    from evaluation.workflow.configuration import load_config
    from sat.config import MODEL, load_preset

    if run is not None and config is None:
        settings, paths = load_frozen(run), RunPaths(run)
        preset = load_preset(preset_in_use(paths, settings, MODEL))
        store = store_folder(paths, preset.grid)
        groups = run_groups(store, preset)
        rows = shares(groups, preset, settings.seed, draws, store)
        out = out or paths.model_run(MODEL) / REPORT_FILE
    elif config is not None and run is None:
        settings = load_config(config)
        preset = load_preset(settings.presets.get(MODEL))
        groups, store = planned_groups(settings, preset), None
        rows = shares(groups, preset, settings.seed, draws)
    else:
        raise BenchError("name a run or a configuration", expected="either --run or --config")
    typer.echo(report_text(rows))
    if store is not None:
        typer.echo(f"\n{views_text(empty_views(groups, preset, settings.seed, store))}")
    if beside is not None:
        other = load_preset(beside)
        others = planned_groups(settings, other) if store is None else run_groups(store, other)
        there = [row for row in shares(others, other, settings.seed, 0) if row.level == "dataset"]
        typer.echo(f"\nWith the preset `{other.name}`:\n{report_text(there)}")
    if out is not None:
        write_report(rows, out)
        typer.echo(str(out))
