"""The `satbench` command line: collects the sub-commands of every installed package."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console

from evaluation import __version__
from evaluation.commands.groups import in_order
from evaluation.errors import BenchError
from evaluation.plugins import add_commands
from evaluation.workflow.jobs import HEAD_VARIABLE, log_foot, log_head
from evaluation.workflow.watchdog import end_with_workflow

UNUSABLE = 2


def build() -> typer.Typer:
    """The whole command line, assembled from all packages."""
    app = typer.Typer(
        name="satbench",
        help="Benchmark and evaluation suite for 3D medical image segmentation.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def version(
        context: typer.Context,
        show: bool = typer.Option(False, "--version", help="Print the version and stop."),
    ) -> None:
        if show:
            typer.echo(f"satbench {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    in_order(add_commands(app))
    return app


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and exit code 2."""
    logged = HEAD_VARIABLE in os.environ
    if logged:
        typer.echo(log_head(os.environ), err=True)
    end_with_workflow()
    code = 1
    try:
        code = _run()
    finally:
        if logged:
            typer.echo(log_foot(code), err=True)
    sys.exit(code)


def _run() -> int:
    try:
        build()()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BenchError as error:
        return _refuse(error)
    except BrokenPipeError:
        # `satbench classes | head` closes the pipe early; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A full disk, a folder that may not be written, a file that another command replaces.
        if error.errno is None:
            raise
        problem = BenchError(
            "a file cannot be read or written",
            file=error.filename,
            found=error.strerror,
            hint="if another command works on the same run, wait until it is done and try again",
        )
        return _refuse(problem)
    return 0


def _refuse(error: BenchError) -> int:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"satbench: {error}", markup=False)
    return UNUSABLE
