"""`satbench presets`: which settings each model can be trained with."""

from __future__ import annotations

import typer

from evaluation.commands.groups import MODELS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=MODELS)(presets)


def presets(
    model: str | None = typer.Argument(None, help="Model id; all by default."),
    name: str | None = typer.Argument(
        None, help="A preset of it, or a file of yours: printed in full, `extends` resolved."
    ),
) -> None:
    """List the presets of each model and what they need, or print one in full."""
    from evaluation.models.card import find_model
    from evaluation.models.preset_list import NO_PRESETS, preset_facts, preset_groups, preset_text

    if model is not None and name is not None:
        typer.echo(preset_text(preset_facts(find_model(model), name), name), nl=False)
        return
    shown = list(preset_groups(None if model is None else find_model(model)))
    if not shown:
        typer.echo(f"{model}: it is not trained here and has no presets")
    for models, found in shown:
        typer.echo(", ".join(models))
        width = max(map(len, found), default=0)
        for preset, facts in found.items():
            size = f"{facts.device}, widths {facts.widths}, patch {facts.patch}, {facts.steps}"
            needs = f"; needs {', '.join(facts.needs)}" if facts.needs else ""
            typer.echo(f"  {preset:{width}}  {size}{needs}. {' '.join(facts.description.split())}")
        if not found:
            typer.echo(f"  {NO_PRESETS}, or is not installed")
    typer.echo(
        "In full: `satbench presets MODEL NAME`. Memory, hours and disk depend on the data: "
        "`satbench plan --config FILE`."
    )
