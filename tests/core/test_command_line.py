"""The help page is divided as a user thinks, and every command says what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from evaluation.cli import build
from evaluation.commands.groups import PANELS

NAMED = {
    "evaluate", "import", "add", "remove", "rename", "segment", "plan", "doctor", "jobs", "classes",
    "datasets", "data check", "data status", "data audit", "new model", "new dataset", "report",
    "specialists", "sat convert-released", "sat sampling", "sat ablation", "sat knowledge train",
    "train", "predict", "measure", "aggregate",
}  # fmt: skip


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from commands(below, f"{path} {name}".strip())
    else:
        yield path, command


def test_every_command_has_a_place_and_a_sentence() -> None:
    page: Any = typer.main.get_command(build())
    found = [getattr(command, "rich_help_panel", None) for command in page.commands.values()]
    assert set(found) == set(PANELS)
    # Typer prints the panels in the order in which they first come.
    assert list(dict.fromkeys(found)) == list(PANELS)
    for name, command in commands(page):
        assert command.help, name


def test_the_guide_names_commands_that_are_there() -> None:
    there = {name for name, _ in commands(typer.main.get_command(build()))}
    assert there >= NAMED
