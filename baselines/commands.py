"""Sub-commands of the `satbench` command line that baselines adds."""

from __future__ import annotations

import typer

from baselines.nnunet import commands as nnunet
from baselines.universal.multi_decoder.commands import app as multi_decoder


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    nnunet.register(app)
    app.add_typer(multi_decoder, name="multi-decoder")
