"""`satbench sat knowledge`: medical knowledge for a text encoder, and what the encoder knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sat.knowledge.settings import KnowledgeSettings

RETRIEVAL_FILE = "retrieval.json"
Umls = typer.Option(None, "--umls", help="META folder of a UMLS release or subset, in RRF.")
Definitions = typer.Option(None, "--definitions", help="CSV with the columns concept,definition.")
Types = typer.Option(
    [], "--tui", help="Semantic type of UMLS, such as T023; may be repeated. All by default."
)
Relations = typer.Option(None, "--relations", help="Answers: CSV head,relation,tail, or text.")
MaxTriplets = typer.Option(None, "--max-triplets", min=1, help="Draw so many of UMLS's relations.")
Preset = typer.Option(None, "--preset", help="`quick` (default), `paper`, or a YAML file.")


def register(sat: typer.Typer) -> None:
    """Add the group `knowledge` to `satbench sat`."""
    knowledge = typer.Typer(
        help="Stage 1 of SAT-Nano: a text encoder learns definitions and relations.",
        no_args_is_help=True,
    )
    knowledge.command("template")(template)
    knowledge.command("train")(train)
    sat.add_typer(knowledge, name="knowledge")


def _changed(preset: str | None, changes: dict[str, Any], of_sources: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from evaluation.files.records import invalid_record
    from sat.knowledge.settings import KnowledgeSettings, load_settings

    values = load_settings(preset).model_dump()
    values |= {key: value for key, value in changes.items() if value is not None}
    values["sources"] |= {key: value for key, value in of_sources.items() if value is not None}
    try:
        return KnowledgeSettings.model_validate(values)
    except ValidationError as error:
        raise invalid_record("command line", KnowledgeSettings, error) from error


def _named(
    umls: Path | None,
    types: list[str],
    most: int | None,
    definitions: Path | None,
    relations: Path | None,
    open_set: bool | None,
) -> dict[str, Any]:
    return {
        "umls": None if umls is None else str(umls),
        "semantic_types": tuple(types) or None,
        "max_triplets": most,
        "definitions": None if definitions is None else str(definitions),
        "relations": None if relations is None else str(relations),
        "open_set": open_set,
    }


def template(
    concept: str | None = typer.Option(None, "--concept", help="Name of one concept."),
    definition: str | None = typer.Option(None, "--definition", help="Its definition."),
    definitions: Path | None = typer.Option(
        None, "--definitions", help="CSV with the columns concept,definition: all of them."
    ),
    template_file: Path | None = typer.Option(
        None, "--template", help="A question of your own with {name} and {definition} in it."
    ),
    out: Path | None = typer.Option(None, "--out", help="Write JSON Lines here, not to stdout."),
) -> None:
    """Print the question that a language model answers with a definition's relations.

    Without options the bare template; with --concept and --definition the question for one
    concept; with --definitions one line of JSON (concept_id, concept, prompt) for each. Collect
    the answers in one CSV with the header head,relation,tail for `train --relations`, or in a text
    with one (head, relation, tail) a line, which other questions ask for.
    """
    from evaluation.errors import BenchError
    from evaluation.files.writing import write_text
    from sat.knowledge.relations import TEMPLATE_FILE, question, read_definitions

    asked = template_file or TEMPLATE_FILE
    if definitions is not None:
        lines = [
            json.dumps(
                {
                    "concept_id": pair.concept_id,
                    "concept": pair.name,
                    "prompt": question(pair.name, pair.definition, asked),
                },
                ensure_ascii=False,
            )
            for pair in read_definitions(definitions)
        ]
        text = "\n".join(lines) + "\n"
    elif concept is not None and definition is not None:
        text = question(concept, definition, asked)
    elif concept is None and definition is None:
        text = asked.read_text(encoding="utf-8")
    else:
        raise BenchError("one concept needs both --concept and --definition")
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(str(out))


def train(
    out: Path | None = typer.Option(None, "--out", help="Folder of the new text encoder."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Only read all sources of knowledge and show what is in them."
    ),
    preset: str | None = Preset,
    encoder: str | None = typer.Option(
        None, "--encoder", help="Where it starts: `minilm`, or a folder in Hugging Face form."
    ),
    trainable: str | None = typer.Option(
        None, "--trainable", help="Last so many layers, `all`, or `head` (a linear map only)."
    ),
    steps: int | None = typer.Option(None, "--steps", min=1),
    batch: int | None = typer.Option(None, "--batch", min=2),
    loss: str | None = typer.Option(None, "--loss", help="`infonce`, or `eq4` as printed."),
    umls: Path | None = Umls,
    tui: list[str] = Types,
    max_triplets: int | None = MaxTriplets,
    definitions: Path | None = Definitions,
    relations: Path | None = Relations,
    open_set: bool | None = typer.Option(None, help="The definitions that come with SAT-Bench."),
    seed: int = typer.Option(0, help="Seed of draws, windows and dropout."),
    threads: int = typer.Option(1, min=1, help="CPU threads of torch."),
    examine: bool = typer.Option(True, help="Measure retrieval before and after."),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace a finished encoder of other knowledge or settings."
    ),
) -> None:
    """Train a text encoder on definitions and relations; goes on where a killed one stopped."""
    layers = int(trainable) if trainable is not None and trainable.isdecimal() else trainable
    settings: KnowledgeSettings = _changed(
        preset,
        {"encoder": encoder, "trainable": layers, "steps": steps, "batch": batch, "loss": loss},
        _named(umls, tui, max_triplets, definitions, relations, open_set),
    )
    if dry_run:
        _show_sources(settings, seed)
        return
    import torch

    from evaluation.errors import BenchError
    from sat.knowledge.train import train_text

    if out is None:
        raise BenchError("a new text encoder needs a folder", hint="give --out, or --dry-run")
    if out.exists() and not out.is_dir():
        raise BenchError("a new text encoder needs a folder, and this is a file", file=out)
    torch.set_num_threads(threads)
    done = train_text(out, settings, seed, overwrite=overwrite)
    typer.echo(f"{settings.name}: {done.steps_now} steps in {done.seconds:.0f} s, {done.folder}")
    if examine:
        report_retrieval(out, None, settings.held_out, out / RETRIEVAL_FILE)


def _show_sources(settings: KnowledgeSettings, seed: int) -> None:
    from sat.knowledge.open_set import DATA, class_names
    from sat.knowledge.records import plain
    from sat.knowledge.sampling import divide
    from sat.knowledge.sources import gather, held_out

    found = gather(settings.sources, seed, progress=True)
    for line in found.sources:
        typer.echo(line)
    defined = {plain(pair.name) for pair in found.pairs}
    related = {plain(name) for t in found.triplets for name in (t.head, t.tail)}
    names = [plain(name) for name in class_names()]
    for what, there in (("a definition", defined), ("a relation", related)):
        typer.echo(f"class names with {what}: {sum(n in there for n in names)} of {len(names)}")
    kept = held_out(settings.held_out)
    division = divide(found, kept)
    typer.echo(
        f"to train on: {len(division.concepts):,} concepts with definitions, "
        f"{len(division.triplets):,} triplets; held out: {len(kept)} concepts of the open set"
    )
    typer.echo(f"licences of the open set: {DATA / 'LICENSES.md'}")


def report_retrieval(
    encoder: str | Path, before: str | None, part: float | None, out: Path | None
) -> None:
    """Print how often names find their definitions, and how near other structures' names are."""
    from evaluation.files.writing import write_json
    from sat.knowledge.record import load_text_encoder, read_record
    from sat.knowledge.retrieval import examine, table
    from sat.knowledge.settings import DEFAULT_PRESET, RECORD_FILE, load_settings
    from sat.knowledge.sources import held_out
    from sat.knowledge.train import base_folder
    from sat.text.encoder import TextEncoder

    folder = base_folder(str(encoder))
    settings = load_settings(DEFAULT_PRESET)
    if (folder / RECORD_FILE).is_file():
        settings = read_record(folder).settings
        before = before or settings.encoder
    kept = held_out(settings.held_out if part is None else part)
    compared = {str(encoder): folder}
    if before is not None:
        compared = {"before": base_folder(before), "after": folder}
    columns = {}
    for title, place in compared.items():
        made = (place / RECORD_FILE).is_file()
        loaded = load_text_encoder(place) if made else TextEncoder(place, settings.pooling)
        columns[title] = examine(loaded.embed, kept)
    typer.echo(table(columns))
    if out is not None:
        write_json(out, {"folders": compared, "held_out": len(kept), **columns})
        typer.echo(str(out))
