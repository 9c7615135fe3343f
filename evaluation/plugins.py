"""Commands that every installed package adds to `satbench`, found by the entry-point group."""

from __future__ import annotations

from importlib.metadata import entry_points

import typer

GROUP = "satbench.commands"


def add_commands(app: typer.Typer) -> typer.Typer:
    """The command line with the sub-commands of all packages: `register(app)` of each."""
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        entry.load()(app)
    return app
