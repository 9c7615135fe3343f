"""Commands around tables: `aggregate`, `dictionary`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

RUN = typer.Option(..., "--run", help="Run folder, results/<name>.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(aggregate)
    app.command()(dictionary)


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
