"""`satbench bench`: the group that every package's benchmarks join."""

from __future__ import annotations

import typer


def bench_group(app: typer.Typer) -> typer.Typer:
    """The group `bench` of a command line, made on the first call."""
    for group in app.registered_groups:
        if group.name == "bench" and group.typer_instance is not None:
            return group.typer_instance
    bench = typer.Typer(help="Benchmarks; they print medians and ratios.", no_args_is_help=True)
    app.add_typer(bench, name="bench")
    return bench
