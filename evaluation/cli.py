"""The `satbench` command line: collects the sub-commands of every installed package."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

import typer
from rich.console import Console

from evaluation import __version__
from evaluation.commands.groups import in_order
from evaluation.errors import BenchError
from evaluation.files.writing import FULL
from evaluation.plugins import add_commands
from evaluation.workflow.jobs import HEAD_VARIABLE, log_foot, log_head
from evaluation.workflow.watchdog import end_with_workflow

UNUSABLE = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked for the end; whoever holds a lock or half a file cleans up on its way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


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
    for stream in (sys.stdout, sys.stderr):
        # A pipe or a terminal in another encoding than UTF-8 gets a `?` for a sign it lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logged = HEAD_VARIABLE in os.environ
    if logged:
        typer.echo(log_head(os.environ), err=True)
    end_with_workflow()
    _end_on_signals()
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
    except Stopped as stopped:
        name = signal.Signals(stopped.number).name
        _say(f"stopped by {name}: give the same command again, it goes on with what is done")
        return 128 + stopped.number
    except BenchError as error:
        return _refuse(error)
    except BrokenPipeError:
        # `satbench classes | head` closes the pipe early; that is not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A full disk, a folder that may not be written, a file that another command replaces.
        if error.errno is None:
            raise
        if error.errno in FULL:
            return _refuse(
                BenchError(
                    "the disk is full, or a file may not become larger",
                    file=error.filename,
                    found=error.strerror,
                    hint="make room and give the same command again; what is done is kept",
                )
            )
        problem = BenchError(
            "a file cannot be read or written",
            file=error.filename,
            found=error.strerror,
            hint="if another command works on the same run, wait until it is done and try again",
        )
        return _refuse(problem)
    return 0


def _refuse(error: BenchError) -> int:
    _say(str(error))
    return UNUSABLE


def _say(text: str) -> None:
    # On a full disk, the log that stderr leads to may be full as well.
    with suppress(OSError):
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"satbench: {text}", markup=False)


def _end_on_signals() -> None:
    """Let the first SIGINT or SIGTERM end this process in order, and the next one at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        _plain_signals()
        raise Stopped(number)

    for number in _SIGNALS:
        signal.signal(number, stop)
    if hasattr(os, "register_at_fork"):  # Windows never forks.
        # A forked worker has nothing to say.
        os.register_at_fork(after_in_child=_plain_signals)


def _plain_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
