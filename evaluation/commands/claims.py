"""Commands about what scores can be claimed to show: `compare`, `ceiling`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evaluation.commands.groups import SCORE
from evaluation.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=SCORE)(compare)
    app.command(rich_help_panel=SCORE)(ceiling)


def compare(
    first: str = typer.Argument(
        ..., metavar="A", help="Model of the run, or score file; several trainings: A1,A2,..."
    ),
    second: str = typer.Argument(..., metavar="B", help="The same, of the other side."),
    run: Path | None = typer.Option(None, "--run", help="Run folder; default: A and B are files."),
    metrics: str = typer.Option("", "--metrics", help="Such as dsc,nsd; one family (Holm)."),
    margin: list[str] = typer.Option(
        [], "--margin", help="Margin of equivalence, METRIC=VALUE in its unit; may be repeated."
    ),
    wanted: list[str] = typer.Option(
        [], "--wanted", help="True difference to plan for, METRIC=VALUE; default: the one found."
    ),
    policy: str = typer.Option("present-only", "--policy", help="What empty masks count."),
    space: str = typer.Option("native", "--space", help="Grid on which masks were compared."),
    out: Path | None = typer.Option(None, "--out", help="All figures, as CSV."),
) -> None:
    """Say what can be claimed: is A better than B, by how much, are they equal, is n enough?

    Differences are by how much A is better (of HD95 and others that should be low, B - A), in the
    metric's unit, of the overall number: means over scans, classes and entries. Spread over
    patients and over trainings are kept apart, and joined where both sides have several
    trainings.
    """
    from evaluation.files.spreadsheets import write_sheet
    from evaluation.tables.versus import Question, compare_files, compare_in_run

    question = Question(
        metrics=_names(metrics),
        policy=policy,
        space=space,
        margins=_values("--margin", margin),
        wanted=_values("--wanted", wanted),
    )
    sides = _names(first), _names(second)
    if run is None:
        files = [[Path(name) for name in side] for side in sides]
        found = compare_files(files[0], files[1], question)
    else:
        found = compare_in_run(run, *sides, question)
    for row in found.to_dict("records"):
        typer.echo("\n".join(_said(row, first, second)))
    if out is not None:
        write_sheet(out, found)


def ceiling(
    raters: list[Path] = typer.Argument(
        None, help="Folders of label maps, one for each rater; with --masks one folder of all."
    ),
    masks: str | None = typer.Option(
        None, "--masks", help="File pattern, such as '{case}/{rater}.nii.gz'; also with {class}."
    ),
    field: list[str] = typer.Option(
        [], "--field", help=r"What a field's text is, as `rater=\d+`; may be repeated."
    ),
    raw_root: Path | None = typer.Option(
        None, "--raw-root", help="Take the raters that the card of --dataset names, from here."
    ),
    run: Path | None = typer.Option(
        None, "--run", help="Of all entries of a run whose cards name raters: its table `raters`."
    ),
    labels: Path | None = typer.Option(
        None, "--labels", help="As of `evaluate`; default: the values in the raters' masks."
    ),
    metrics: str = typer.Option("dsc,nsd", "--metrics", help="Of `satbench metrics`."),
    tolerance_mm: list[float] = typer.Option(
        [], "--tolerance-mm", min=0.0, help="NSD tolerance in mm; may be repeated. Default: 1."
    ),
    policy: str = typer.Option("present-only", "--policy", help="What empty masks count."),
    dataset: str | None = typer.Option(
        None, "--dataset", help="Name of the entry, as in the score rows of the models."
    ),
    modality: str = typer.Option("unknown", "--modality", help="ct, mri, pet or unknown."),
    patient_pattern: str = typer.Option(
        r"^(.*)$", "--patient-pattern", help="On case names; its first group is the patient."
    ),
    out: Path = typer.Option(
        Path("raters.parquet"), "--out", help="Mean over pairs, as rows of the model `raters`."
    ),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Cases at once; each needs memory."),
) -> None:
    """Score raters against each other: how far people agree, and a tolerance for NSD from it.

    No image is needed. The rows stand beside a model's: `satbench compare MODEL.parquet
    raters.parquet` says how far the model is from people. The tolerance is the distance that 95 %
    of the raters' surfaces keep to each other (Nikolov et al. 2021).
    """
    from evaluation.classes.modality import MODALITIES
    from evaluation.commands.metrics import show
    from evaluation.errors import one_of
    from evaluation.metrics.catalogue import asked_metrics
    from evaluation.protocol import POLICIES
    from evaluation.scoring.folder_pairs import Settings
    from evaluation.scoring.outputs import require_ours, write_rows
    from evaluation.scoring.rater_inputs import CeilingSource, inputs_of
    from evaluation.scoring.raters import score_raters

    if run is not None:
        from evaluation.scoring.run_raters import raters_of_run

        for line in raters_of_run(run, jobs):
            typer.echo(line)
        return
    one_of("--policy", policy, POLICIES)
    one_of("--modality", modality, (*MODALITIES, "unknown"))
    if dataset is None:
        raise typer.BadParameter("missing --dataset (only --run goes without)")
    require_ours(out)
    ids, tolerances = asked_metrics(_names(metrics), tolerance_mm or None)
    source = CeilingSource(tuple(raters or ()), masks, tuple(field), raw_root, dataset, labels)
    inputs = inputs_of(source)
    settings = Settings(
        labels={},
        answered=frozenset(),
        tolerances_mm=tolerances,
        metrics=ids,
        dataset=dataset,
        modality=inputs.modality or modality,
    )
    pattern = inputs.patient_pattern or patient_pattern
    found = score_raters(inputs.raters, inputs.where, settings, inputs.named, pattern, jobs)
    write_rows(out, found.human)
    show(found.human, policy, 0)
    _say_tolerances(found.tolerances)
    for line in found.lacking:
        typer.echo(f"not counted: {line}", err=True)
    n_pairs, n_cases = found.pairs["model"].nunique(), found.pairs["case"].nunique()
    typer.echo(f"{n_pairs} pairs of raters, {n_cases} cases; {len(found.human)} rows in {out}")


def _say_tolerances(tolerances: pd.DataFrame) -> None:
    """What to put into a configuration, class by class."""
    from evaluation.scoring.rater_distances import in_configuration

    values = []
    for row in tolerances.to_dict("records"):
        values.append(in_configuration(row["tolerance_mm"]))
        typer.echo(
            f"{row['class']}: 95 % of raters' surfaces lie within {row['tolerance_mm']:.2f} mm of "
            f"each other ({row['n_pairs']} pairs, {row['n_cases']} cases): a tolerance for its NSD"
        )
    if values:
        listed = ", ".join(f"{value:g}" for value in sorted(set(values)))
        typer.echo(f"in a run's configuration: tolerance_mm: [{listed}]")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _values(option: str, texts: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if not found[name] > 0:
            raise BenchError(
                f"`{option} {text}` cannot be used", expected="METRIC=VALUE above 0, as dsc=0.01"
            )
    return found


def _said(row: Mapping[Any, Any], first: str, second: str) -> list[str]:
    from evaluation.metrics.catalogue import find_metric

    at = f" at {row['tolerance_mm']:g} mm" if row["tolerance_mm"] == row["tolerance_mm"] else ""
    note = f" ({row['note']})" if row["note"] else ""
    equal = f"  equivalent within {row['equivalent_within']:.4f}"
    if row["margin"] == row["margin"]:
        equal += f"; within {row['margin']:g}: p {row['p_not_equivalent']:.3g}"
    metric = find_metric(row["metric"])
    # By how much the first is better, which is less of what should be little.
    less = f"{second} - {first}" if metric.sign < 0 else f"{first} - {second}"
    unit = f" {metric.unit}" if metric.unit else ""
    estimate = (
        f"{row['metric']}{at}: {less} = {row['difference']:+.4f}{unit}, 95 % interval over "
        f"patients {row['low']:+.4f} to {row['high']:+.4f}; {row['n_patients']} patients{note}"
    )
    tested = f"p {row['p']:.3g}, Holm {row['p_holm']:.3g}" if row["p"] == row["p"] else "no p"
    tests = (
        f"  {tested}; effect size {row['effect_size']:.2f}; "
        f"{first} better in {row['win_share']:.0%} of patients; probability that the order is "
        f"false {row['p_false_order']:.3g}"
    )
    plan = (
        f"  smallest difference that this n shows (power 80 %) {row['smallest_shown']:.4f}; for "
        f"{row['wanted']:.4f} it takes {row['n_needed']:.0f} patients"
    )
    lines = [estimate, tests, equal, plan]
    if row["low_joined"] == row["low_joined"]:
        lines.append(
            f"  over trainings ({row['n_trainings_a']}, {row['n_trainings_b']}) error "
            f"{row['error_trainings']:.4f}, over patients {row['error']:.4f}; joined interval "
            f"{row['low_joined']:+.4f} to {row['high_joined']:+.4f}, p {row['p_joined']:.3g}"
        )
    else:
        lines.append("  over other trainings: unknown (each side needs at least two)")
    return lines
