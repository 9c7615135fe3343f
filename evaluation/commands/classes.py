"""Commands that show what the benchmark is made of: classes, entries, splits, the collection."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evaluation.commands.groups import DATASETS, STEPS, group

if TYPE_CHECKING:
    from evaluation.classes import ClassInfo
    from evaluation.datasets.card import DatasetCard


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=DATASETS)(classes)
    app.command(rich_help_panel=DATASETS)(datasets)
    app.command(rich_help_panel=STEPS)(split)
    group(app, "data").command()(status)
    group(app, "data").command()(collection)


def classes(
    as_json: bool = typer.Option(False, "--json", help="Print everything known as JSON."),
    csv_file: Path | None = typer.Option(None, "--csv", help="Write everything known to a file."),
    dataset: str | None = typer.Option(None, "--dataset", help="Only the classes of this entry."),
    modality: str | None = typer.Option(None, "--modality", help="Only `ct`, `mri` or `pet`."),
    study: str | None = typer.Option(None, "--study", help="Only what this built-in study uses."),
) -> None:
    """List the class vocabulary: the (modality, name) keys of the built-in studies."""
    from evaluation.classes import vocabulary
    from evaluation.classes.modality import find_modality
    from evaluation.datasets.registry import find_card
    from evaluation.files.writing import atomic_path
    from evaluation.studies.record import find_study

    found = list(vocabulary(None if study is None else find_study(study).id))
    if dataset is not None:
        card = find_card(dataset)
        own = {(m, name) for m in card.modalities for name in card.class_names}
        found = [i for i in found if i.key in own]
        known = {info.name for info in found}
        for name in card.class_names:
            if name not in known:
                typer.echo(f"{card.id}: `{name}` is not in the vocabulary", err=True)
    if modality is not None:
        wanted = find_modality(modality)
        found = [i for i in found if i.modality == wanted]
    if csv_file is not None:
        rows = [_flat(info) for info in found]
        with (
            atomic_path(csv_file) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, fieldnames=list(_flat(vocabulary()[0])))
            writer.writeheader()
            writer.writerows(rows)
        typer.echo(f"{csv_file}: {len(rows)} classes")
    elif as_json:
        typer.echo(json.dumps([asdict(info) for info in found], indent=2, ensure_ascii=False))
    else:
        for info in found:
            kind = "annotated" if info.annotated_in else "generated"
            typer.echo(
                f"{info.modality:<4} {info.name:<58.58} {info.region:<14} {info.side:<6} {kind}"
            )
        n_names = len({info.name for info in found})
        typer.echo(f"{len(found)} classes, {n_names} names")


def datasets(
    name: str | None = typer.Argument(None, help="Dataset id, or any printed spelling."),
    as_json: bool = typer.Option(False, "--json", help="Print whole cards as JSON."),
    readers: bool = typer.Option(
        False, "--readers", help="List the readers and their arguments instead."
    ),
) -> None:
    """List the datasets that there are cards of, or print one card."""
    from evaluation.datasets.registry import find_card, load_cards

    if readers:
        from evaluation.datasets.readers import reader_help

        typer.echo(reader_help())
        return
    if name is not None:
        from evaluation.datasets.readers import get_reader

        card = find_card(name)
        get_reader(card)  # a wrong reader or argument is a fault of the card
        typer.echo(
            json.dumps(_card(card), indent=2, ensure_ascii=False) if as_json else _page(card)
        )
        return
    cards = list(load_cards().values())
    if as_json:
        typer.echo(json.dumps([_card(card) for card in cards], indent=2, ensure_ascii=False))
        return
    for card in cards:
        typer.echo(
            f"{card.id:<18} {card.modality:<4} {len(card.classes):>3} classes "
            f"{card.expected_cases:>5} cases {card.access:<13} {card.licence.name}"
        )
    n_classes = sum(len(card.classes) for card in cards)
    n_specialists = sum(len(card.specialists) for card in cards)
    typer.echo(f"{len(cards)} entries, {n_classes} class slots, {n_specialists} specialists")


def split(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    dataset: str = typer.Option(..., "--dataset", help="Dataset id."),
) -> None:
    """Write a run's split of one entry: the committed list, for the cases that are there."""
    from evaluation.datasets.splitting import write_split

    path = write_split(run, dataset, say=lambda text: typer.echo(text, err=True))
    typer.echo(str(path))


def status(
    raw_root: Path = typer.Option(..., "--raw-root", help="Folder that holds the raw datasets."),
    dataset: list[str] = typer.Option([], "--dataset", help="Only this entry (repeatable)."),
    as_json: bool = typer.Option(False, "--json", help="Print every field as JSON."),
) -> None:
    """Say which entries are there, how complete they are, and how to get the others."""
    from evaluation.datasets.registry import find_card
    from evaluation.datasets.status import data_status, status_text

    entries = data_status(raw_root, [find_card(name) for name in dataset] or None)
    if as_json:
        typer.echo(json.dumps([e.as_dict() for e in entries], indent=2, ensure_ascii=False))
    else:
        typer.echo(status_text(entries))


def collection(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
) -> None:
    """Count a run's scans, annotations and volumes by entry, class and region (`collection/`)."""
    from tqdm import tqdm

    from evaluation.datasets.collection import write_collection

    with tqdm(unit="case", desc="count", disable=None) as bar:
        typer.echo(write_collection(run, lambda _case: bar.update()))


def _flat(info: ClassInfo) -> dict[str, Any]:
    row = asdict(info)
    row["generated_from"] = " ; ".join("|".join(union) for union in info.generated_from)
    for key in ("aliases", "annotated_in", "generated_in", "studies"):
        row[key] = "|".join(row[key])
    return row


def _card(card: DatasetCard) -> dict[str, Any]:
    return card.model_dump(mode="json", exclude_none=True)


def _page(card: DatasetCard) -> str:
    patients = f"{card.expected_cases} scans of {card.expected_patients} patients"
    licence = card.licence.name + ("" if card.licence.verified else " (unverified)")
    lines = [
        f"{card.title} ({card.id}), {card.modality.upper()}, {', '.join(card.regions)}",
        card.description,
        "",
        f"licence   {licence}" + (f"; {card.licence.note}" if card.licence.note else ""),
        f"access    {card.access}",
        f"source    {card.source.name}: {card.source.where}",
        f"to do     {card.source.steps}",
        f"cite      {card.citation}",
        f"folder    {card.folder}",
        f"layout    {card.layout}",
        f"reader    {card.reader} {json.dumps(card.reader_args)}",
        f"patient   the case's {card.patient_pattern}",
        f"cases     {patients}",
    ]
    own = "otherwise: " if card.splits else ""
    rules = [(f"{study}: ", rule) for study, rule in card.splits.items()]
    for study, rule in [*rules, *([(own, card.split)] if card.split else [])]:
        words = ", ".join(f"{n} {side}" for side, n in rule.sides.items() if n) + f" ({rule.rule})"
        lines.append(f"split     {study}{words}" + (f": {rule.note}" if rule.note else ""))
    for head, texts in (
        ("faults", card.faults),
        ("left out", [f"{case}: {why}" for case, why in card.exclude.items()]),
        ("shared", [f"{o.dataset}: {o.relation}" for o in card.overlaps]),
        ("unverified", card.unverified),
    ):
        lines += [f"{head:<9} - {text}" for text in texts]
    lines += ["", f"{len(card.classes)} classes"]
    for entry in card.classes:
        if entry.union_of:
            where = "union of " + ", ".join(entry.union_of)
        elif entry.file:
            where = f"file {entry.file}"
        else:
            where = "values " + ", ".join(map(str, entry.values or ()))
            for study, values in entry.study_values.items():
                where += f" ({study}: {', '.join(map(str, values))})"
        lines.append(f"  {entry.name}: {where}")
    return "\n".join(lines)
