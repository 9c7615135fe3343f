"""Sub-commands of the `satbench` command line that baselines adds."""

from __future__ import annotations

import typer

from baselines.nnunet import commands as nnunet


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    nnunet.register(app)
