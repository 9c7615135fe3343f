"""Sub-commands of the `satbench` command line that evaluation adds, one module for each topic."""

from __future__ import annotations

import typer

from evaluation.commands import (
    audit,
    claims,
    classes,
    data,
    exports,
    imports,
    metrics,
    plan,
    presets,
    publishing,
    run,
    stress,
    tables,
)


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    data.register(app)
    classes.register(app)
    run.register(app)
    plan.register(app)
    metrics.register(app)
    claims.register(app)
    imports.register(app)
    tables.register(app)
    publishing.register(app)
    audit.register(app)
    stress.register(app)
    presets.register(app)
    exports.register(app)
