"""Commands that the workflow's jobs call, and those around a run: add, doctor, new model."""

from __future__ import annotations

from pathlib import Path

import typer

from evaluation.commands.groups import MODELS, STEPS, group
from evaluation.commands.groups import RUN as RUN_PANEL

RUN = typer.Option(..., "--run", help="Run folder, results/<name>.")
MODEL = typer.Option(..., "--model", help="Model id.")
DATASET = typer.Option(..., "--dataset", help="Dataset id.")
SHARD = typer.Option(..., "--shard", min=0, help="Which shard of the test cases.")
JOBS = typer.Option(1, "--jobs", min=1, help="Cases measured at once.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for step in (train, predict, measure, record):
        app.command(rich_help_panel=STEPS)(step)
    for command in (add, remove, rename):
        app.command(rich_help_panel=MODELS)(command)
    app.command(rich_help_panel=RUN_PANEL)(doctor)
    new = group(app, "new")
    new.command("model")(new_model)
    new.command("dataset")(new_dataset)


def train(
    run: Path = RUN,
    model: str = MODEL,
    stage: str | None = typer.Option(
        None, "--stage", help="Only this one (prepare, train, ...), with the preset the run keeps."
    ),
    unit: str = typer.Option("", "--unit", help="Of it only this unit, such as a specialist."),
    preset: str | None = typer.Option(
        None, "--preset", help="Instead of the configured one; the run keeps it from then on."
    ),
    threads: int = typer.Option(0, "--threads", min=0, help="CPU threads; 0: as the stage says."),
    gpus: int = typer.Option(1, "--gpus", min=0, help="GPUs to use; 0: those that Slurm shows."),
    nodes: int = typer.Option(1, "--nodes", min=1, help="Nodes of a Slurm job to spread over."),
    processes: int | None = typer.Option(
        None, "--processes", min=1, help="That share a training; by default one for each GPU."
    ),
) -> None:
    """Do the stages of a model's training that are missing, or one; goes on after a kill."""
    from evaluation.models.stages import Granted
    from evaluation.paths import RunPaths
    from evaluation.workflow.train import do_stage, train_model

    granted = Granted(threads, gpus, nodes, processes)
    if stage is not None and preset is None and RunPaths(run).preset(model).is_file():
        do_stage(run, model, stage, unit, granted, typer.echo)
    else:
        train_model(run, model, preset, granted, typer.echo, stage, unit)


def predict(
    run: Path = RUN,
    model: str = MODEL,
    dataset: str = DATASET,
    shard: int = SHARD,
    gpu: bool = typer.Option(False, "--gpu", help="Stop at once if there is no GPU here."),
) -> None:
    """Predict the test cases of a shard (the model sees images only)."""
    if gpu:
        from evaluation.models.card import find_model
        from evaluation.workflow.gpu import require_gpu

        require_gpu(torch=find_model(model).adapter.kind == "python")
    from evaluation.models.running import predict_shard

    typer.echo(predict_shard(run, model, dataset, shard))


def measure(
    run: Path = RUN,
    model: str = MODEL,
    dataset: str = DATASET,
    shard: int = SHARD,
    jobs: int = JOBS,
) -> None:
    """Score the predictions of a shard against their references."""
    from evaluation.scoring.shards import measure_shard

    typer.echo(measure_shard(run, model, dataset, shard, jobs))


def add(
    model: str = typer.Argument(..., help="Model id of a card."),
    run: Path = RUN,
    jobs: int = JOBS,
) -> None:
    """Put one more model into a run: predict, measure, aggregate, render."""
    from evaluation.workflow.adding import add_model

    add_model(run, model, typer.echo, jobs)
    typer.echo(
        f"`{model}` is in, and stays when the workflow runs again; `satbench remove {model} "
        f"--run {run}` takes it out"
    )


def remove(
    model: str = typer.Argument(..., help="Id of an added model."),
    run: Path = RUN,
) -> None:
    """Take an added model out of a run, with its predictions and scores."""
    from evaluation.workflow.moving import remove_model

    remove_model(run, model, typer.echo)
    typer.echo(f"`{model}` is out")


def rename(
    old: str = typer.Argument(..., help="Id of an added model."),
    new: str = typer.Argument(..., help="Its new id."),
    run: Path = RUN,
) -> None:
    """Give an added model another id, in its card and in the run; nothing is predicted again."""
    from evaluation.workflow.moving import rename_model

    rename_model(run, old, new, typer.echo)
    typer.echo(f"`{old}` is now `{new}`")


def record(run: Path = RUN) -> None:
    """Write the run record: code, configuration, inputs, packages, seconds, memory."""
    from evaluation.runs.provenance import write_record

    typer.echo(write_record(run))


def doctor(
    config: Path = typer.Option(Path("config/paper.yaml"), "--config", help="Configuration."),
    raw_root: Path | None = typer.Option(None, "--raw-root", help="Instead of the configured one."),
) -> None:
    """Check this machine: packages, torch and CUDA, disk, Slurm partitions, raw data."""
    from evaluation.workflow.doctor import examine

    findings = examine(config, raw_root)
    for finding in findings:
        typer.echo(f"{finding.level:7} {finding.topic:14} {finding.message}")
    if any(f.level == "fault" for f in findings):
        raise typer.Exit(1)


def new_model(name: str = typer.Argument(..., help="Model id, for example my-unet.")) -> None:
    """Write config/models/NAME.yaml, to be filled in."""
    from evaluation.models.templates import write_model_card

    typer.echo(
        f"wrote {write_model_card(name)}; fill it in, then `satbench add {name} --run RUN`, or name"
        " it under `models:` of a configuration"
    )


def new_dataset(
    name: str = typer.Argument(..., help="Dataset id, for example my_dataset."),
) -> None:
    """Write config/datasets/NAME.yaml, to be filled in."""
    from evaluation.datasets.templates import write_dataset_card

    typer.echo(
        f"wrote {write_dataset_card(name)}; fill it in, then look at it with `satbench datasets "
        f"{name}` and at the files with `satbench data check --dataset {name} --raw-root DIR`"
    )
