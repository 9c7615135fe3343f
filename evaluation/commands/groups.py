"""Groups of `satbench` sub-commands that several modules and packages join."""

from __future__ import annotations

import typer

HELP = {
    "data": "Look at raw datasets before a run.",
}


def group(app: typer.Typer, name: str) -> typer.Typer:
    """The group `satbench NAME`, made on the first call."""
    for found in app.registered_groups:
        if found.name == name and found.typer_instance is not None:
            return found.typer_instance
    made = typer.Typer(help=HELP[name], no_args_is_help=True)
    app.add_typer(made, name=name)
    return made
