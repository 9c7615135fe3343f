"""Sub-commands of the `satbench` command line that sat adds."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
