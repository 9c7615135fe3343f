"""Sub-commands of the `satbench` command line that evaluation adds, one module for each topic."""

from __future__ import annotations

import typer

from evaluation import (
    commands_audit,
    commands_classes,
    commands_cohort,
    commands_data,
    commands_metrics,
    commands_plan,
    commands_run,
    commands_tables,
)


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    commands_cohort.register(app)
    commands_data.register(app, commands_metrics.bench_app)
    commands_classes.register(app, commands_data.data_app)
    commands_run.register(app)
    commands_plan.register(app)
    commands_metrics.register(app)
    commands_tables.register(app)
    commands_audit.register(commands_data.data_app, commands_metrics.bench_app)
