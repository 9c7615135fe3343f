"""Sub-commands of the `satbench` command line that baselines adds."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

import typer


class Device(StrEnum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


RUN = typer.Option(..., "--run", help="A run's folder, results/<name>.")
SPECIALIST = typer.Option(..., "--specialist", help="Id of a specialist (`satbench specialists`).")

nnunet = typer.Typer(help="nnU-Net v2 specialists: prepare and train one of them.")


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    app.command()(specialists)
    app.add_typer(nnunet, name="nnunet")


def specialists(
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
) -> None:
    """The specialists that studies print, with our count of their parameters beside the size."""
    from evaluation.published.specialists import pinned_plans
    from evaluation.studies.record import find_study, study_ids

    plans = [plan for study in study_ids() for plan in pinned_plans(find_study(study)).values()]
    rows = [
        {
            "name": plan.id,
            "entry": plan.entry,
            "classes": plan.n_classes,
            "train": plan.n_train,
            "test": plan.n_test,
            "patch": " ".join(map(str, plan.patch_size)),
            "stages": plan.n_stages,
            "width": " ".join(map(str, plan.width)),
            "batch": plan.batch_size,
            "spacing_mm": " ".join(f"{s:g}" for s in plan.spacing_mm),
            "normalisation": plan.normalisation,
            "strides": [list(s) for s in plan.strides],
            "kernel_sizes": [list(k) for k in plan.kernel_sizes],
            "parameters": plan.parameters,
            "printed_size": f"{plan.printed_size_millions}M",
            "source": plan.source,
        }
        for plan in plans
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from tabulate import tabulate

    columns = ["name", "classes", "patch", "stages", "width", "batch", "parameters", "printed_size"]
    typer.echo(tabulate([[row[c] for c in columns] for row in rows], headers=columns))
    total = sum(plan["parameters"] for plan in rows if isinstance(plan["parameters"], int))
    printed = sum(plan.printed_size_millions for plan in plans)
    typer.echo(f"\n{len(rows)} specialists, {total / 1e6:.1f}M parameters (printed: {printed}M)")


@nnunet.command()
def prepare(run: Path = RUN, specialist: str = SPECIALIST) -> None:
    """Export, plan and preprocess the training cases of one specialist."""
    from baselines.nnunet.training import prepare_specialist

    typer.echo(prepare_specialist(run, specialist))


@nnunet.command()
def plans(
    run: Path = RUN,
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
) -> None:
    """Where the plans that a run trains differ from those that nnU-Net makes itself."""
    from baselines.nnunet.training import plan_report

    rows = plan_report(run)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from tabulate import tabulate

    typer.echo(tabulate(rows, headers="keys") if rows else "no differences, or nothing prepared")


@nnunet.command()
def train(
    run: Path = RUN,
    specialist: str = SPECIALIST,
    threads: int | None = typer.Option(None, min=1, help="CPU threads (default: the preset's)."),
    device: Device = typer.Option(Device.auto, help="`auto` takes the preset's choice."),
) -> None:
    """Train one specialist, or continue a training that was stopped."""
    from baselines.nnunet.training import train_specialist

    typer.echo(train_specialist(run, specialist, threads=threads, device=device.value))
