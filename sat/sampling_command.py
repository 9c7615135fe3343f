"""`satbench sat sampling`: what a training will draw, before it starts."""

from __future__ import annotations

from pathlib import Path

import typer


def sampling(
    run: Path | None = typer.Option(None, "--run", help="A run whose cases are prepared."),
    config: Path | None = typer.Option(
        None, "--config", help="Or a configuration; planned from the cards' expected counts."
    ),
    draws: int = typer.Option(20_000, "--draws", min=0, help="Crops to simulate."),
    out: Path | None = typer.Option(
        None, "--out", help="CSV; in the model's folder of the run by default."
    ),
) -> None:
    """How often the training draws each dataset, group and class, before it starts."""
    from evaluation.config import load_frozen
    from evaluation.errors import BenchError
    from evaluation.models.presets import preset_in_use
    from evaluation.paths import RunPaths
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
        rows = shares(run_groups(store, preset), preset, settings.seed, draws, store)
        out = out or paths.model_run(MODEL) / REPORT_FILE
    elif config is not None and run is None:
        settings = load_config(config)
        preset = load_preset(settings.presets.get(MODEL))
        rows = shares(planned_groups(settings, preset), preset, settings.seed, draws)
    else:
        raise BenchError("name a run or a configuration", expected="either --run or --config")
    typer.echo(report_text(rows))
    if out is not None:
        write_report(rows, out)
        typer.echo(str(out))
