"""`satbench import`: another tool's score file as rows of the score table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evaluation.commands.groups import SCORE
from evaluation.commands.metrics import show
from evaluation.errors import one_of

if TYPE_CHECKING:
    import pandas as pd

FILES = {
    "nnunet": ("summary.json",),
    "touchstone": ("CSV of DSC", "CSV of NSD of the same cases and classes"),
    "challenger": ("long table (CSV)",),
}
"""Which files each form has."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", rich_help_panel=SCORE)(import_scores)


def import_scores(
    form: str = typer.Argument(..., help="nnunet, touchstone or challenger."),
    files: list[Path] = typer.Argument(..., help="Its score file; of touchstone DSC, then NSD."),
    out: Path = typer.Option(Path("scores.parquet"), "--out", help="Rows: .parquet or .csv."),
    model: str | None = typer.Option(
        None, "--model", help="Name of the model (challengeR's table has a column of it)."
    ),
    dataset: str = typer.Option("imported", "--dataset", help="Name of the dataset."),
    modality: str | None = typer.Option(
        None, "--modality", help="ct, mri or unknown; of touchstone ct, of others unknown."
    ),
    tolerance_mm: float | None = typer.Option(
        None, "--tolerance-mm", min=0.0, help="Tolerance with which NSD was computed, in mm."
    ),
    labels: Path | None = typer.Option(
        None, "--labels", help="nnunet: YAML or dataset.json that names the classes."
    ),
    metric: str = typer.Option("dsc", "--metric", help="challenger: what the values are."),
    column: list[str] = typer.Option(
        [], "--column", help="challenger: NAME=ITS COLUMN of algorithm, case, value or task."
    ),
    policy: str = typer.Option("present-only", "--policy", help="Policy of the summary."),
) -> None:
    """Turn another tool's score file into score rows.

    nnunet: summary.json of nnU-Net's evaluation (DSC and voxel counts; it has no NSD).
    touchstone: a table of DSC and one of NSD, case x class; blank = class absent.
    challenger: a long table with task, algorithm, case, value; NA = missing prediction.
    """
    from evaluation.errors import BenchError
    from evaluation.metrics.catalogue import asked_metrics
    from evaluation.scoring.importers import (
        import_challenger_table,
        import_nnunet_summary,
        import_touchstone_pair,
    )

    one_of("FORM", form, tuple(FILES))
    if len(files) != len(FILES[form]):
        raise BenchError(
            f"`{form}` has another number of files",
            found=", ".join(map(str, files)),
            expected=", then ".join(FILES[form]),
        )
    if form == "nnunet":
        frame = import_nnunet_summary(files[0], model or "nnunet", dataset, labels)
    elif form == "touchstone":
        if model is None or tolerance_mm is None:
            raise BenchError("Touchstone's tables do not say whose they are and at which tolerance",
                             hint="give --model and --tolerance-mm")  # fmt: skip
        frame = import_touchstone_pair(files[0], files[1], model, dataset, tolerance_mm)
    else:
        (metric,), (at, *_) = asked_metrics([metric], tolerance_mm)
        frame = import_challenger_table(files[0], dataset, metric, at, _columns(column))
    _keep(frame, out, policy, modality or ("ct" if form == "touchstone" else "unknown"))


def _columns(named: list[str]) -> dict[str, str]:
    columns = {name: name for name in ("algorithm", "case", "value", "task")}
    for text in named:
        name, _, given = text.partition("=")
        one_of("--column", name, tuple(columns))
        columns[name] = given
    return columns


def _keep(frame: pd.DataFrame, out: Path, policy: str, modality: str) -> None:
    from evaluation.classes.modality import MODALITIES
    from evaluation.protocol import POLICIES
    from evaluation.scoring.outputs import write_rows

    one_of("--policy", policy, POLICIES)
    one_of("--modality", modality, (*MODALITIES, "unknown"))
    frame["modality"] = modality
    write_rows(out, frame)
    for name, rows in frame.groupby("model", sort=True):
        typer.echo(f"model {name}")
        show(rows, policy)
    typer.echo(f"{len(frame)} rows in {out}")
