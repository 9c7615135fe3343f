"""`satbench sat convert-released`: the authors' weights for a run and for `satbench segment`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

CARD = """\
# Written by `satbench sat convert-released`.
id: "{name}"
title: SAT-Nano, released weights
description: The authors' first public release, with its own conventions (preset `released-v1`).
citation: >-
  Zhao et al., One Model to Rule them All: Towards Universal Segmentation for Medical Images with
  Text Prompts, arXiv 2312.17183v1, 2023
licence: see the release
parameters: 107227008
# Its authors trained it on their training splits of these datasets.
trained_on: [{datasets}]
gpu: true
adapter:
  kind: python
  object: sat.adapter:SatNano
  options: {{checkpoint: {checkpoint}}}
"""


def convert_released(
    network: Path = typer.Option(
        ..., "--network", help="Released checkpoint of the segmentation network."
    ),
    text: Path = typer.Option(
        ..., "--text", help="Released checkpoint of the text tower: encoder and projection head."
    ),
    encoder: Path = typer.Option(
        ...,
        "--encoder",
        help="Folder with config.json and vocab.txt of the text encoder, BiomedBERT base uncased "
        "(abstracts). Its weights are used only if the text tower has none.",
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The checkpoint to write."),
    tuned_encoder: Path | None = typer.Option(
        None,
        "--tuned-encoder",
        help="Also write the text encoder with the tower's weights to this new folder: "
        "`satbench segment --text-encoder` wants it for names that are no class.",
    ),
    projection: str | None = typer.Option(
        None, "--projection", help="Name of the projection head, if the text tower has several."
    ),
    preset: str = typer.Option(
        "released-v1", help="Preset by name or as a file, for other windows or less memory."
    ),
    card: str | None = typer.Option(
        None, "--card", help="Also write config/models/NAME.yaml, for `satbench add NAME`."
    ),
) -> None:
    """Turn the authors' released weights into a checkpoint with all 362 classes.

    Nothing is downloaded, and no code in the files is run.
    """
    from evaluation.models.templates import free_model_card
    from sat.config import load_preset
    from sat.released.conversion import ReleasedFiles, convert_released

    card_path = None if card is None else free_model_card(card)
    files = ReleasedFiles(network, text, encoder, projection)
    side = convert_released(files, out, tuned_encoder, load_preset(preset))
    where = text if side.encoder is not None else encoder
    typer.echo(f"text encoder from {where}, projection head `{side.projection_name}`")
    if side.unused:
        typer.echo(f"warning: not used: {', '.join(side.unused)}", err=True)
    typer.echo(str(out))
    if card is not None and card_path is not None:
        _write_card(card_path, card, out)
        typer.echo(f"{card_path}: satbench add {card} --run results/<run>")


def _write_card(path: Path, name: str, checkpoint: Path) -> None:
    from evaluation.files.writing import write_text
    from evaluation.studies.record import find_study

    text = CARD.format(
        name=name,
        datasets=", ".join(f"sat/{entry}" for entry in find_study("sat").entries),
        checkpoint=json.dumps(str(checkpoint.resolve())),
    )
    write_text(path, text)
