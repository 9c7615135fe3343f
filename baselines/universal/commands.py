"""Sub-commands of the `satbench` command line for the universal systems."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from evaluation.commands.groups import MODELS

CARD = """\
# Written by `satbench universal released`.
id: "{name}"
title: {title}, released weights
description: The authors' public release, with the settings of the preset `released`.
citation: "{citation}"
licence: see the release
parameters: {parameters}
# Entries that it answers for; its authors trained it on their training splits of them.
trained_on: [{datasets}]
gpu: true
adapter:
  kind: python
  object: baselines.universal.adapter:UniversalSystem
  options: {{system: {system}, checkpoint: {checkpoint}}}
"""


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    words = "Universal systems: public releases, and what only they show."
    universal = typer.Typer(help=words, no_args_is_help=True)
    universal.command("released")(released)
    universal.command("priors")(priors)
    app.add_typer(universal, name="universal", rich_help_panel=MODELS)


def released(
    file: Path = typer.Argument(..., help="The authors' file: a state dict, bare or wrapped."),
    system: str = typer.Option(..., "--system", help="resunet, medformer, hermes-r or hermes-m."),
    entries: Path | None = typer.Option(
        None,
        "--entries",
        help="YAML, `<dataset>: {modality: 0, rows: {<class>: 3, ...}}`: rows of the task and "
        "modality tables, or channels of the output, which a release does not name. Hermes: by "
        "default the published training's, whose order within an entry is inferred.",
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The checkpoint to write."),
    card: str | None = typer.Option(
        None, "--card", help="Also write config/models/NAME.yaml, for `satbench add NAME`."
    ),
) -> None:
    """Turn a public release of a universal system into a checkpoint.

    Nothing is downloaded, no code in the file is run, and every key that is missing or unknown is
    named.
    """
    from baselines.universal.config import system_of
    from baselines.universal.conversion import convert_released
    from baselines.universal.released_entries import entries_file, read_entries
    from evaluation.files.writing import write_text
    from evaluation.models.card import find_model
    from evaluation.models.templates import free_model_card

    found = system_of("--system", {"system": system})
    path = None if card is None else free_model_card(card)
    rows = entries_file(found, entries)
    parameters = convert_released(found, file, rows, out)
    typer.echo(f"{out}: {parameters:,} weights")
    if path is not None:
        ours = find_model(found)
        text = CARD.format(
            name=card,
            title=ours.title,
            citation=ours.citation,
            parameters=parameters,
            datasets=", ".join(read_entries(rows)),
            system=found,
            checkpoint=json.dumps(str(out.resolve())),
        )
        write_text(path, text)
        typer.echo(f"{path}: satbench add {card} --run results/<run>")


def priors(
    run: Path = typer.Option(..., "--run", help="The run's folder, results/<name>."),
    model: str = typer.Option("hermes-r", "--model", help="A trained Hermes of the run."),
) -> None:
    """Draw what only Hermes shows: heat maps of its prototypes, and how alike its priors are."""
    from baselines.universal.prior_figures import show_priors
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths

    for path in show_priors(RunPaths(run), load_frozen(run), model):
        typer.echo(str(path))
