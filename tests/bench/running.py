"""What every benchmark's command has: a user's mistake in one message, results as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from evaluation.errors import BenchError
from evaluation.files.writing import write_json

Out = typer.Option(None, "--out", help="Also write the results as JSON.")


def run(benchmark: Callable[..., None]) -> None:
    """Run a benchmark with the options of the command line."""
    try:
        typer.run(benchmark)
    except BenchError as error:
        typer.echo(error, err=True)
        sys.exit(2)


def tell(lines: Iterable[str], results: Any, out: Path | None) -> None:
    """Print a benchmark's lines, and write its results if a file is named."""
    for line in lines:
        typer.echo(line)
    if out is not None:
        write_json(out, results)
