"""Commands around tables: `aggregate`, `dictionary`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from evaluation.commands.groups import REPORTS, STEPS

RUN = typer.Option(..., "--run", help="Run folder, results/<name>.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=STEPS)(aggregate)
    app.command("join-folds", rich_help_panel=STEPS)(join_folds)
    app.command(rich_help_panel=REPORTS)(dictionary)


def aggregate(
    run: Path = RUN,
    draws: int = typer.Option(1000, "--draws", min=100, help="Bootstraps for the intervals."),
) -> None:
    """Turn the score rows of a run into its tables."""
    from evaluation.tables.run_tables import aggregate_run

    for line in aggregate_run(run, draws):
        typer.echo(line)


def join_folds(
    runs: list[Path] = typer.Argument(..., help="Run folders that differ in their fold alone."),
    out: Path = typer.Option(..., "--out", help="Folder of the joined run, results/<name>."),
) -> None:
    """Join runs that left out one patient each, so that every patient is scored once."""
    from evaluation.scoring.folds import join_folds

    for line in join_folds(runs, out):
        typer.echo(line)


def dictionary(
    out: Optional[Path] = typer.Option(  # noqa: UP045 - typer reads it at run time
        None, "--out", help="File to write; default: print."
    ),
    configuration: bool = typer.Option(
        False, "--configuration", help="The JSON Schema of a run's configuration instead."
    ),
) -> None:
    """List every column of every table with type, unit and meaning (CSV)."""
    import json

    from evaluation.config import json_schema
    from evaluation.files.spreadsheets import sheet_text
    from evaluation.files.writing import write_text
    from evaluation.schema import TABLES, data_dictionary

    if configuration:
        text = json.dumps(json_schema(), indent=2) + "\n"
    else:
        text = sheet_text(data_dictionary(list(TABLES.values())))
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
