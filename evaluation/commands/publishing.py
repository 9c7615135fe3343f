"""Commands around publishing: `submit`, `board join`."""

from __future__ import annotations

from pathlib import Path

import typer

from evaluation.commands.groups import REPORTS, group


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=REPORTS)(submit)
    group(app, "board").command()(join)


def submit(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    model: str = typer.Option(..., "--model", help="Model of the run."),
    out: Path = typer.Option(..., "--out", help="Submission folder; made anew."),
) -> None:
    """Write one model's scores, card and provenance as a folder for a board; no images."""
    from evaluation.scoring.submissions import submit as write_submission

    typer.echo(write_submission(run, model, out).parent)


def join(
    places: list[Path] = typer.Argument(..., help="Submission folders, or folders of them."),
    out: Path = typer.Option(..., "--out", help="Run folder of the board, results/<name>."),
    draws: int = typer.Option(1000, "--draws", min=100, help="Bootstraps for the intervals."),
) -> None:
    """Check submissions, join them into a run and make its tables; `report` then shows it."""
    from evaluation.scoring.boards import join_submissions
    from evaluation.tables.run_tables import aggregate_run

    for line in [*join_submissions(places, out), *aggregate_run(out, draws)]:
        typer.echo(line)
