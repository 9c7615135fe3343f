"""Commands around tables: `aggregate`, `dictionary`, `bench statistics`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from evaluation.commands.groups import group

RUN = typer.Option(..., "--run", help="Run folder, results/<name>.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(aggregate)
    app.command()(dictionary)
    group(app, "bench").command("statistics")(bench_statistics)


def aggregate(
    run: Path = RUN,
    draws: int = typer.Option(1000, "--draws", min=100, help="Bootstraps for the intervals."),
) -> None:
    """Turn the score rows of a run into its tables."""
    from evaluation.tables.run_tables import aggregate_run

    for line in aggregate_run(run, draws):
        typer.echo(line)


def dictionary(
    out: Optional[Path] = typer.Option(  # noqa: UP045 - typer reads it at run time
        None, "--out", help="CSV file to write; default: print."
    ),
) -> None:
    """List every column of every table with type, unit and meaning."""
    from evaluation.files.writing import write_text
    from evaluation.schema import TABLES, data_dictionary

    text = data_dictionary(list(TABLES.values())).to_csv(index=False, lineterminator="\n")
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)


def bench_statistics(
    models: int = typer.Option(10, "--models", min=1, help="Number of models."),
    scale: float = typer.Option(1.0, "--scale", min=0.01, help="Times the collection's scans."),
    draws: int = typer.Option(1000, "--draws", min=1, help="Bootstraps."),
    repeats: int = typer.Option(5, "--repeats", min=1, help="Times; the median is printed."),
) -> None:
    """Time the bootstrap of overall, dataset and region means on rows of the collection's size."""
    from evaluation.tables.benchmark import bench

    for line in bench(models, scale, draws, repeats):
        typer.echo(line)
