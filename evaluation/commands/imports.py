"""`satbench import`: other tools' score files as rows of the score table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evaluation.commands.metrics import show
from evaluation.errors import one_of

if TYPE_CHECKING:
    import pandas as pd

import_app = typer.Typer(
    help="Turn other tools' score files into score rows.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(import_app, name="import")


@import_app.command("nnunet")
def import_nnunet(
    summary: Path = typer.Argument(..., help="summary.json of nnU-Net's evaluation."),
    out: Path = typer.Option(Path("scores.parquet"), "--out", help="Rows: .parquet or .csv."),
    model: str = typer.Option("nnunet", "--model", help="Name of the model."),
    dataset: str = typer.Option("imported", "--dataset", help="Name of the dataset."),
    modality: str = typer.Option("unknown", "--modality", help="ct, mri, pet or unknown."),
    labels: Path | None = typer.Option(
        None, "--labels", help="YAML or dataset.json that names the classes."
    ),
    policy: str = typer.Option("present-only", "--policy", help="Policy of the summary."),
) -> None:
    """Import nnU-Net's summary.json (DSC and voxel counts; it has no NSD)."""
    from evaluation.scoring.importers import import_nnunet_summary

    _keep(import_nnunet_summary(summary, model, dataset, labels), out, policy, modality)


@import_app.command("touchstone")
def import_touchstone(
    dsc: Path = typer.Argument(..., help="CSV of DSC: name, one column per class."),
    nsd: Path = typer.Argument(..., help="CSV of NSD of the same cases and classes."),
    model: str = typer.Option(..., "--model", help="Name of the model."),
    out: Path = typer.Option(Path("scores.parquet"), "--out", help="Rows: .parquet or .csv."),
    dataset: str = typer.Option("imported", "--dataset", help="Name of the dataset."),
    modality: str = typer.Option("ct", "--modality", help="ct, mri, pet or unknown."),
    tolerance_mm: float = typer.Option(
        ..., "--tolerance-mm", min=0.0, help="Tolerance with which the NSD was computed, in mm."
    ),
    policy: str = typer.Option("present-only", "--policy", help="Policy of the summary."),
) -> None:
    """Import the Touchstone pair of tables (case x class; blank = class absent)."""
    from evaluation.scoring.importers import import_touchstone_pair

    frame = import_touchstone_pair(dsc, nsd, model, dataset, tolerance_mm)
    _keep(frame, out, policy, modality)


@import_app.command("challenger")
def import_challenger(
    table: Path = typer.Argument(..., help="challengeR's long table (CSV)."),
    out: Path = typer.Option(Path("scores.parquet"), "--out", help="Rows: .parquet or .csv."),
    metric: str = typer.Option("dsc", "--metric", help="What the values are."),
    tolerance_mm: float = typer.Option(1.0, "--tolerance-mm", min=0.0, help="NSD tolerance, mm."),
    dataset: str = typer.Option("imported", "--dataset", help="Name of the dataset."),
    modality: str = typer.Option("unknown", "--modality", help="ct, mri, pet or unknown."),
    algorithm: str = typer.Option("algorithm", "--algorithm-column", help="Column of the model."),
    case: str = typer.Option("case", "--case-column", help="Column of the case."),
    value: str = typer.Option("value", "--value-column", help="Column of the value."),
    task: str = typer.Option("task", "--task-column", help="Column of the class (may be absent)."),
    policy: str = typer.Option("present-only", "--policy", help="Policy of the summary."),
) -> None:
    """Import challengeR's long table (task, algorithm, case, value; NA = missing prediction)."""
    from evaluation.metrics.catalogue import all_metrics
    from evaluation.scoring.importers import import_challenger_table

    one_of("--metric", metric, tuple(all_metrics()))
    columns = {"algorithm": algorithm, "case": case, "value": value, "task": task}
    frame = import_challenger_table(table, dataset, metric, tolerance_mm, columns)
    _keep(frame, out, policy, modality)


def _keep(frame: pd.DataFrame, out: Path, policy: str, modality: str) -> None:
    from evaluation.classes.modality import MODALITIES
    from evaluation.protocol import POLICIES
    from evaluation.scoring.folders import write_rows

    one_of("--policy", policy, POLICIES)
    one_of("--modality", modality, (*MODALITIES, "unknown"))
    frame["modality"] = modality
    write_rows(out, frame)
    for name, rows in frame.groupby("model", sort=True):
        typer.echo(f"model {name}")
        show(rows, policy)
    typer.echo(f"{len(frame)} rows in {out}")
