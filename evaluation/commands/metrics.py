"""Commands around scores: evaluate anybody's predictions, those of a challenge, list metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evaluation.commands.groups import SCORE

if TYPE_CHECKING:
    import pandas as pd

    from evaluation.scoring.folders import Outcome
    from evaluation.scoring.summary import Summary

MISSING = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=SCORE)(evaluate)
    app.command("challenge", rich_help_panel=SCORE)(challenge)
    app.command("metrics", rich_help_panel=SCORE)(list_metrics)


def evaluate(
    reference: Path = typer.Argument(
        ..., help="Label map, folder of label maps, or folder with one folder of masks per case."
    ),
    prediction: list[Path] = typer.Argument(
        ...,
        help="The same; cases are matched by name. Of several models each reference is read once, "
        "and the rows of model `a` are in scores/a/scores.parquet, if --out is scores.parquet.",
    ),
    labels: Path | None = typer.Option(
        None,
        "--labels",
        help="YAML: class -> value, list of values, or mask file. Default: dataset.json beside "
        "the reference, else the values in the references.",
    ),
    metrics: list[str] = typer.Option(
        [],
        "--metrics",
        "--metric",
        help="Of `satbench metrics`, such as dsc,nsd@0.5,hd95,assd. Default: dsc,nsd.",
    ),
    tolerance_mm: list[float] = typer.Option(
        [], "--tolerance-mm", min=0.0, help="NSD tolerance in mm; may be repeated. Default: 1."
    ),
    definition: str = typer.Option(
        "surface-element",
        "--definition",
        help="Of surfaces and their distances: surface-element, voxel-larger, voxel-pooled "
        "(`satbench metrics --definitions`).",
    ),
    instances: bool = typer.Option(
        False, "--instances", help="Count lesions one by one, too: `instances` beside --out."
    ),
    matching: str = typer.Option(
        "one-to-one",
        "--matching",
        help="Of lesions: one-to-one, most-pairs, greedy, many-to-one or nearest.",
    ),
    match_at: float = typer.Option(
        0.5, "--match-at", min=0.0, help="Least IoU of a match; of nearest: largest mm."
    ),
    policy: str = typer.Option(
        "present-only",
        "--policy",
        help="What empty masks count in the summary: present-only, field-diagonal or paper. Rows "
        "stay raw.",
    ),
    out: Path = typer.Option(Path("scores.parquet"), "--out", help="Rows: .parquet or .csv."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Cases at once; each needs memory."),
    engine: str = typer.Option("sweep", "--engine", help="sweep, surface-distance or monai."),
    resample: str = typer.Option(
        "refuse", "--resample", help="A prediction on another grid: refuse, or nearest."
    ),
    grid_tolerance_mm: float = typer.Option(
        1e-3, "--grid-tolerance-mm", min=0.0, help="Grids agree if all corners do to this."
    ),
    model: str | None = typer.Option(None, "--model", help="Default: the prediction's name."),
    dataset: str | None = typer.Option(None, "--dataset", help="Default: the reference's name."),
    modality: str = typer.Option("unknown", "--modality", help="ct, mri, pet or unknown."),
    patient_pattern: str = typer.Option(
        r"^(.*)$",
        "--patient-pattern",
        help="Regular expression on case names; its first group is the patient.",
    ),
) -> None:
    """Score predictions against references: DSC and NSD of every class, or other metrics.

    All distances (HD, its percentiles, ASSD, MASD), volume errors and boundary IoU are exact and
    cost about as much again as DSC and NSD.

    Exit code 0: everything was scored. 3: scored, but predictions or references are missing or
    unusable (they are listed). 2: the arguments are unusable. A run that was stopped goes on
    where it was, and cases whose files have not changed are not measured again.
    """
    from dataclasses import replace

    from evaluation.classes.modality import MODALITIES
    from evaluation.errors import BenchError, one_of
    from evaluation.metrics.catalogue import asked_metrics
    from evaluation.metrics.distances.definitions import DEFINITIONS
    from evaluation.metrics.instances.rules import Matching
    from evaluation.protocol import DEFAULT_METRICS, INSTANCE_METRICS, POLICIES
    from evaluation.scoring.folder_pairs import Settings
    from evaluation.scoring.folders import evaluate_models
    from evaluation.scoring.inputs import readable
    from evaluation.scoring.outputs import require_ours
    from evaluation.volumes.image_files import stem_of

    one_of("--policy", policy, POLICIES)
    one_of("--resample", resample, ("refuse", "nearest"))
    one_of("--modality", modality, (*MODALITIES, "unknown"))
    one_of("--engine", engine, ("sweep", "surface-distance", "monai"))
    one_of("--definition", definition, tuple(DEFINITIONS))
    named = [name.strip() for text in metrics for name in text.split(",") if name.strip()]
    named = named or list(DEFAULT_METRICS)
    ids, tolerances = asked_metrics((*named, *INSTANCE_METRICS * instances), tolerance_mm or None)
    how = {"within_mm" if matching == "nearest" else "threshold": match_at}
    shared = Settings(
        labels={},
        answered=frozenset(),
        tolerances_mm=tolerances,
        metrics=ids,
        definition=definition,  # type: ignore[arg-type]
        matching=Matching(matching, **how),  # type: ignore[arg-type]
        engine=engine,  # type: ignore[arg-type]
        resample=resample,  # type: ignore[arg-type]
        grid_tolerance_mm=grid_tolerance_mm,
        dataset=dataset or readable(stem_of(reference.resolve())),
        modality=modality,
    )
    names = [model or readable(stem_of(path.resolve())) for path in prediction]
    if len(set(names)) < len(names):
        raise BenchError(
            "several predictions have one name",
            found=", ".join(names),
            hint="score them in calls of their own, each with a --model, or rename the folders",
        )
    require_ours(out)
    # Not in the folder of --out itself, where the predictions may lie.
    files = [out.with_suffix("") / name / out.name for name in names] if names[1:] else [out]
    asked = [
        (path, file, replace(shared, model=name))
        for path, file, name in zip(prediction, files, names, strict=True)
    ]
    outcomes = evaluate_models(reference, asked, labels, jobs, patient_pattern)
    for name, file, outcome in zip(names, files, outcomes, strict=True):
        if len(names) > 1:
            typer.echo(f"\n{name}")
        _tell(outcome, policy, file, f"{name}: " if len(names) > 1 else "")
    if any(outcome.failed or outcome.missing for outcome in outcomes):
        raise typer.Exit(MISSING)


def challenge(
    references: Path = typer.Option(..., "--references", help="As for `evaluate`; in the image."),
    source: Path = typer.Option(
        Path("/input"), "--input", help="Folder with predictions.json, or with the predictions."
    ),
    out: Path = typer.Option(Path("/output"), "--output", help="Gets metrics.json, scores.csv."),
    labels: Path | None = typer.Option(None, "--labels", help="As for `evaluate`."),
    metrics: str = typer.Option("dsc,nsd", "--metrics", help="Of `satbench metrics`."),
    tolerance_mm: list[float] = typer.Option(
        [], "--tolerance-mm", min=0.0, help="NSD tolerance in mm; may be repeated. Default: 1."
    ),
    policy: str = typer.Option("present-only", "--policy", help="What empty masks count."),
    case_from: str | None = typer.Option(
        None, "--case-from", help="Slug of the input whose image names the case."
    ),
    answer: str | None = typer.Option(None, "--answer", help="Slug of the output to score."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Cases at once; each needs memory."),
) -> None:
    """Score a challenge's submission in a container, by the convention of grand-challenge.org."""
    from evaluation.errors import one_of
    from evaluation.metrics.catalogue import asked_metrics
    from evaluation.protocol import DEFAULT_METRICS, POLICIES
    from evaluation.scoring.challenge import METRICS, Challenge, evaluate_challenge
    from evaluation.scoring.folder_pairs import Settings

    one_of("--policy", policy, POLICIES)
    named = tuple(name.strip() for name in metrics.split(",") if name.strip())
    ids, tolerances = asked_metrics(named or DEFAULT_METRICS, tolerance_mm or None)
    settings = Settings({}, frozenset(), tolerances_mm=tolerances, metrics=ids)
    asked = Challenge(references, settings, policy, labels, case_from, answer)
    outcome = evaluate_challenge(asked, source, out, jobs)
    show(outcome.rows, policy)
    for line in _notes(outcome):
        typer.echo(line, err=True)
    for case, reason in outcome.missing.items():
        typer.echo(f"prediction missing: {case}: {reason}", err=True)
    typer.echo(str(out / METRICS))


def _tell(outcome: Outcome, policy: str, out: Path, whose: str) -> None:
    """Print what became of one model; `whose` stands before every remark."""
    from evaluation.scoring.outputs import instances_file

    typer.echo(f"classes from {outcome.labels_from}")
    if outcome.reused:
        typer.echo(f"{outcome.reused} cases were scored before and have not changed")
    show(outcome.rows, policy, len(outcome.failed))
    for line in _notes(outcome):
        typer.echo(f"{whose}{line}", err=True)
    for case, reason in outcome.missing.items():
        typer.echo(f"{whose}prediction missing: {case}: {reason}", err=True)
    for case, reason in outcome.failed.items():
        typer.echo(f"{whose}reference unusable, case not scored: {case}: {reason}", err=True)
    typer.echo(f"{len(outcome.rows)} rows in {out}")
    if outcome.instances is not None:
        typer.echo(f"{len(outcome.instances)} lesions in {instances_file(out)}")


def list_metrics(
    as_json: bool = typer.Option(False, "--json", help="As JSON, for programs."),
    definitions: bool = typer.Option(
        False, "--definitions", help="The definitions of surfaces and distances, by formulas."
    ),
    protocols: bool = typer.Option(
        False, "--protocols", help="How challenges score lesions, rule by rule."
    ),
) -> None:
    """List the metrics: range, better side, and what empty and missing masks count."""
    from evaluation.metrics.catalogue import metrics_table

    if definitions:
        from evaluation.metrics.distances.definitions import DEFINITIONS

        for one in DEFINITIONS.values():
            typer.echo("\n    ".join([one.name, *one.lines]))
        return
    if protocols:
        from evaluation.metrics.instances.protocols import PROTOCOLS

        for protocol in PROTOCOLS.values():
            typer.echo(f"{protocol.name} ({protocol.title})\n    {protocol.rules}")
        return

    table = metrics_table()
    if as_json:
        typer.echo(table.to_json(orient="records", indent=2, force_ascii=False))
        return
    for record in table.to_dict("records"):
        typer.echo(f"{record['metric']}: {record['definition']}")
        rest = [f"{name} {value}" for name, value in record.items() if value][2:-1]
        typer.echo(f"    {'; '.join(rest)}")


def _notes(outcome: Outcome) -> Iterator[str]:
    """What is no error, but should be known."""
    from evaluation.scoring.folder_pairs import REFERENCE
    from evaluation.scoring.inputs import some_of

    for tolerance, n in outcome.finer_than_voxels.items():
        yield (
            f"note: {tolerance:g} mm is less than a voxel in {n} cases; there NSD hardly tells a "
            "small shift from a large one"
        )
    if outcome.geometry:
        case, words = next(iter(outcome.geometry.items()))
        yield f"note: geometry of {len(outcome.geometry)} references, such as {case}: {words}"
    if outcome.unsupported:
        n = len(outcome.unsupported)
        yield (
            f"note: no prediction has a mask of {n} classes, which count as unsupported and are in "
            f"no mean: {some_of(outcome.unsupported)}"
        )
    for what, cases in outcome.unnamed.items():
        side = "references" if what.startswith(REFERENCE) else "predictions"
        yield (
            f"note: {what.removeprefix(REFERENCE)} belongs to no class and counts as background in "
            f"{len(cases)} {side}: {some_of(cases)}"
        )
    if outcome.unmatched:
        n = len(outcome.unmatched)
        yield f"note: {n} predictions have no reference: {some_of(outcome.unmatched)}"


def show(rows: pd.DataFrame, policy: str, n_unusable: int = 0) -> None:
    """Print the means by class."""
    from rich.console import Console
    from rich.table import Table

    from evaluation.scoring.summary import summarise

    if rows.empty:
        typer.echo("no case was scored")
        return
    summary = summarise(rows, policy)
    n_cases = rows["case"].nunique()
    of = f" of {n_cases + n_unusable}" if n_unusable else ""
    typer.echo(f"policy {policy}, {n_cases}{of} cases; n = scores in the mean")
    console = Console()
    for shown in _fitting(summary, console.width):
        table = Table()
        table.add_column("class", min_width=len("mean of classes"), overflow="fold")
        for name, letters in shown.items():
            head = name.replace("_", " ")
            table.add_column(head, justify="right", overflow="fold", max_width=letters)
        for part in (summary.classes, summary.overall):
            for record in part.to_dict("records"):
                table.add_row(record["class"], *[_text(record[name]) for name in shown])
            table.add_section()
        console.print(table)


def _fitting(summary: Summary, width: int) -> Iterator[dict[str, int]]:
    """Columns in groups, with the letters of their longest number or word, so that none is cut."""
    names = [str(name) for name in summary.classes.columns[1:]]
    first = room = width - len("| mean of classes |")
    shown: dict[str, int] = {}
    for name in names:
        numbers = [_text(v) for part in (summary.classes, summary.overall) for v in part[name]]
        letters = max(map(len, [*name.replace("_", " ").split(), *numbers]))
        if shown and letters + len("|  ") > room:
            yield shown
            shown, room = {}, first
        shown[name] = letters
        room -= letters + len("|  ")
    if shown:
        yield shown


def _text(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4f}"
    return str(value)
