"""Sub-commands of the `satbench` command line that reports adds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.commands.groups import REPORTS


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    app.command("report", rich_help_panel=REPORTS)(report)


def report(
    run: Annotated[Path, typer.Option("--run", help="Run folder, results/<name>.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write (default reports/out/<name>).")
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            "--only", help="Some of: tables,figures,gallery,leaderboard,export (default: all)."
        ),
    ] = "",
    show: Annotated[
        str,
        typer.Option("--show", help="Models, with commas, that figures show whatever their rank."),
    ] = "",
    pictures: Annotated[
        int, typer.Option("--pictures", min=0, help="At most so many pictures in the gallery.")
    ] = 150,
) -> None:
    """Render tables, figures, gallery, leaderboard and export of a run."""
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from evaluation.runs.carrying import edited_cards
    from reports.parts import PARTS
    from reports.rendering import render_report

    folder = out if out is not None else Path("reports/out") / load_frozen(run).name
    parts = [p.strip() for p in only.split(",") if p.strip()] or list(PARTS)
    path = render_report(
        run,
        folder,
        parts,
        pictures,
        lambda part: typer.echo(f"rendering {part}", err=True),
        [m.strip() for m in show.split(",") if m.strip()],
    )
    for line in edited_cards(RunPaths(run)):
        typer.echo(line, err=True)
    typer.echo(f"{path.parent}/index.html")
