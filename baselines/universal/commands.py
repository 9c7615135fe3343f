"""Sub-commands of the `satbench` command line that the universal systems add."""

from __future__ import annotations

from pathlib import Path

import typer

from evaluation.commands.groups import MODELS


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    universal = typer.Typer(help="The universal systems.", no_args_is_help=True)
    universal.command("priors")(priors)
    app.add_typer(universal, name="universal", rich_help_panel=MODELS)


def priors(
    run: Path = typer.Option(..., "--run", help="The run's folder, results/<name>."),
    model: str = typer.Option("hermes-r", "--model", help="A trained Hermes of the run."),
) -> None:
    """Draw what only Hermes shows: heat maps of its prototypes, and how alike its priors are."""
    from baselines.universal.prior_figures import show_priors
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths

    for path in show_priors(RunPaths(run), load_frozen(run), model):
        typer.echo(str(path))
