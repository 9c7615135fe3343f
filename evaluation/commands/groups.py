"""How `satbench --help` is divided, and the groups that several modules and packages join."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

SCORE = "Score"
RUN = "A run"
STEPS = "Its steps, as the workflow calls them"
MODELS = "Models"
DATASETS = "Datasets and classes"
REPORTS = "Reports"
SAT = "SAT-Nano"
PANELS = (SCORE, RUN, STEPS, MODELS, DATASETS, REPORTS, SAT)
"""What a user comes for, in the order of the help page."""

_GROUPS = {
    "data": ("Look at raw datasets before a run.", DATASETS),
    "export": ("Write what a run holds in forms that other programs read.", RUN),
    "new": ("Write a template card of a model or a dataset.", MODELS),
    "board": (
        "Join submissions (`board PLACES` is `board join PLACES`), show them.",
        REPORTS,
    ),
}


class _Joins(TyperGroup):
    """A group whose command `join` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = not args or args[0] in (*self.commands, "--help")
        return super().parse_args(ctx, args if named else ["join", *args])


def group(app: typer.Typer, name: str) -> typer.Typer:
    """The group `satbench NAME`, made on the first call."""
    for found in app.registered_groups:
        if found.name == name and found.typer_instance is not None:
            return found.typer_instance
    help_text, panel = _GROUPS[name]
    kind = _Joins if name == "board" else TyperGroup
    made = typer.Typer(help=help_text, no_args_is_help=True, cls=kind)
    app.add_typer(made, name=name, rich_help_panel=panel)
    return made


def in_order(app: typer.Typer) -> None:
    """Sort commands by their panel; those of other packages, which have none, come last."""
    known = {panel: i for i, panel in enumerate(PANELS)}
    app.registered_commands.sort(key=lambda c: known.get(str(c.rich_help_panel), len(PANELS)))
