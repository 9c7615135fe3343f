"""`satbench export`: what a run holds, in forms that other programs read."""

from __future__ import annotations

from pathlib import Path

import typer

from evaluation.commands.groups import group

INCOMPLETE = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    group(app, "export").command()(predictions)


def predictions(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    model: str = typer.Option(..., "--model", help="A model of the run."),
    out: Path = typer.Option(..., "--out", help="Folder; files of the same names are replaced."),
    dataset: list[str] = typer.Option([], "--dataset", help="Only this entry (repeatable)."),
) -> None:
    """Write a model's predictions in each dataset's own values, on each scan's own grid.

    Label maps are DATASET/CASE.nii.gz, masks of structures DATASET/CASE/STRUCTURE.nii.gz, which
    `satbench evaluate` and a model card's prediction folder read. Exit code 3 if cases lack.
    """
    from tqdm import tqdm

    from evaluation.scoring.label_maps import export_predictions

    complete = True
    with tqdm(desc=f"export {model}", unit="case", disable=None) as bar:
        for entry in export_predictions(run, model, out, dataset, lambda _case: bar.update()):
            typer.echo(f"{entry.folder}: {entry.cases} of {entry.planned} cases")
            for case, why in entry.not_written.items():
                typer.echo(f"not written: {entry.dataset} {case}: {why}", err=True)
            for name, voxels in entry.lost_voxels.items():
                typer.echo(
                    f"{entry.dataset}: {voxels} voxels of `{name}` are otherwise than predicted: "
                    "no value of the dataset means what overlaps there",
                    err=True,
                )
            complete = complete and not entry.not_written
    if not complete:
        raise typer.Exit(INCOMPLETE)
