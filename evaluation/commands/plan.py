"""Commands around the cost of a run: `plan` before it, `jobs` during and after it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evaluation.commands.groups import RUN

if TYPE_CHECKING:
    from evaluation.config import RunConfig
    from evaluation.workflow.estimate import Estimate

FAILED_JOBS = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=RUN)(plan)
    app.command(rich_help_panel=RUN)(jobs)


def plan(
    config: Path = typer.Option(Path("config/paper.yaml"), "--config", help="Configuration."),
    raw_root: Path | None = typer.Option(None, "--raw-root", help="Instead of the configured one."),
    gpus: int = typer.Option(8, "--gpus", min=1, help="GPUs that the run can use at once."),
    cores: int = typer.Option(64, "--cores", min=1, help="CPU cores that it can use at once."),
    as_json: bool = typer.Option(False, "--json", help="Print every number as JSON."),
    write: bool = typer.Option(False, "--write", help="Write the table `cost` of the run."),
    calibrate: bool = typer.Option(
        False, "--calibrate", help="Time training steps of the run's networks on this machine."
    ),
    gpu_tflops: float | None = typer.Option(
        None, "--gpu-tflops", min=0.01, help="Speed of a GPU, as --calibrate said on its machine."
    ),
) -> None:
    """Estimate GPU hours, CPU hours, disk and wall time of a run, before anyone starts."""
    from evaluation.models.presets import presets_of_run
    from evaluation.paths import RunPaths
    from evaluation.workflow.configuration import load_config
    from evaluation.workflow.estimate import estimate
    from evaluation.workflow.limits import limits
    from evaluation.workflow.plan import plan_entries
    from evaluation.workflow.speed import ASSUMED, measured_speed, stated_speed
    from evaluation.workflow.stages import plan_stages

    settings = load_config(config)
    if raw_root is not None:
        settings = settings.model_copy(update={"raw_root": str(raw_root)})
    entries = plan_entries(settings).entries
    speed = ASSUMED if gpu_tflops is None else stated_speed(gpu_tflops)
    speed = measured_speed(settings) if calibrate else speed
    found = estimate(settings, entries, gpus=gpus, cores=cores, speed=speed)
    paths = RunPaths(Path("results") / settings.name)
    presets = presets_of_run(paths, settings, settings.models, anew=True)
    stages = plan_stages(paths, settings, settings.models, presets, entries)
    late = [limit for limit in limits(found, stages) if not limit.fits]
    if write:
        from evaluation.workflow.cost_table import write_cost

        typer.echo(f"wrote {write_cost(settings, found)}", err=True)
    if as_json:
        record = {**_record(settings, found), "over_limit": [asdict(limit) for limit in late]}
        typer.echo(json.dumps(record, indent=2))
        return
    typer.echo(_text(found))
    for limit in late:
        way = "it goes on in further attempts" if limit.goes_on else "it would be killed"
        typer.echo(
            f"over its limit: {limit.title}: {limit.planned_hours:.1f} h on {limit.threads} "
            f"threads are planned, its job asks for {limit.limit_hours:.1f} h and {limit.asked}; "
            f"{way}. Change `stages:` in the configuration (slurm/README.md)."
        )


def _record(settings: RunConfig, found: Estimate) -> dict[str, Any]:
    from evaluation.workflow.cost_table import (
        peak_memory_mib,
        predict_seconds_per_case,
        train_seconds,
    )

    return {
        "run": settings.name,
        "entries": len(found.loads),
        "entries_with_measured_sizes": found.measured_sizes,
        "licences": {
            load.card.id: {"access": load.card.access, "licence": load.card.licence.name}
            for load in found.loads
        },
        "gpus": found.gpus,
        "cores": found.cores,
        "speed": asdict(found.speed),
        "stages": [asdict(stage) for stage in found.stages],
        "total": asdict(found.total),
        "models": {
            name: {
                "networks": cost.networks,
                "parameters": None if math.isnan(cost.parameters) else cost.parameters,
                "device": cost.device,
                "train_seconds": train_seconds(cost),
                "predict_seconds_per_case": predict_seconds_per_case(cost, found.loads),
                "peak_memory_mib": peak_memory_mib(cost),
                "gpu_hours": sum(w.held_gpu_seconds for w in cost.work) / 3600,
                "cpu_hours": sum(w.cpu_seconds for w in cost.work) / 3600,
                "disk_gib": sum(w.disk_bytes for w in cost.work) / 2**30,
            }
            for name, cost in found.models.items()
        },
    }


def _text(found: Estimate) -> str:
    from tabulate import tabulate

    head = ["stage", "jobs", "GPU hours", "CPU hours", "longest job", "wall hours", "disk GiB"]
    rows = [list(asdict(stage).values()) for stage in (*found.stages, found.total)]
    models = [
        [
            name,
            cost.networks,
            "" if math.isnan(cost.parameters) else f"{cost.parameters / 1e6:.1f} M",
            sum(w.held_gpu_seconds for w in cost.work) / 3600,
            sum(w.cpu_seconds for w in cost.work) / 3600,
            cost.device,
        ]
        for name, cost in found.models.items()
    ]
    columns = ["model", "networks", "weights", "GPU hours", "CPU hours", "device"]
    sizes = f"{found.measured_sizes} of {len(found.loads)} entries with measured sizes of scans"
    speed = found.speed
    notes = (
        f"An estimate on the high side: {sizes}, the others assumed. GPU: {speed.gpu} at "
        f"{speed.gpu_flops / 1e12:.0f} TFLOP/s, {speed.cpu_flops / 1e9:.0f} GFLOP/s for a CPU "
        f"thread ({speed.origin}). Wall hours: {found.gpus} GPUs and {found.cores} cores, one "
        "stage after the other; GPUs share a training where its preset has several processes. A "
        "store that several models share is in the hours of each, and once in the stages. "
        "Origins of all constants: evaluation/workflow/{estimate,speed}.py and the modules "
        "`costs` of the models. Afterwards, the table `runtime` has what it took."
    )
    tables = (
        tabulate(rows, headers=head, floatfmt=",.2f"),
        tabulate(models, headers=columns, floatfmt=",.2f"),
    )
    return "\n\n".join((*tables, notes, "\n".join(_licences(found))))


def _licences(found: Estimate) -> list[str]:
    """Which entries want which licence, by how one comes to them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for load in found.loads:
        licence = load.card.licence
        words = licence.name + ("" if licence.verified else " (unverified)")
        groups.setdefault((load.card.access, words), []).append(load.card.id)
    return [
        f"{access}: {licence}: {', '.join(sorted(names))}"
        for (access, licence), names in sorted(groups.items())
    ]


def jobs(
    run: Path = typer.Option(..., "--run", help="Run folder, results/<name>."),
    failed: bool = typer.Option(False, "--failed", help="Only what is not done."),
    as_json: bool = typer.Option(False, "--json", help="Print every field as JSON."),
) -> None:
    """Say what ran where, how long, with which resources, and what failed (exit code 3)."""
    from evaluation.workflow.jobs import job_reports

    reports = job_reports(run)
    shown = [r for r in reports if not failed or r.status != "done"]
    n_failed = sum(r.status == "failed" for r in reports)
    if as_json:
        typer.echo(json.dumps([_plain(asdict(r)) for r in shown], indent=2))
    else:
        from tabulate import tabulate

        head = ["stage", "job", "status", "where", "seconds", "CPU s", "MiB", "threads, resources"]
        rows = [
            [
                r.stage,
                r.job,
                r.status,
                r.host + (f" #{r.slurm_job}" if r.slurm_job else ""),
                _shown(r.seconds),
                _shown(r.cpu_seconds),
                _shown(r.peak_memory_mib),
                f"{r.threads} {r.resources}".strip(),
            ]
            for r in shown
        ]
        typer.echo(tabulate(rows, headers=head, disable_numparse=True))
        done = sum(r.status == "done" for r in reports)
        cpu = sum(r.cpu_seconds for r in reports if not math.isnan(r.cpu_seconds))
        left = len(reports) - done - n_failed
        typer.echo(
            f"\n{done} done, {n_failed} failed, {left} unfinished; {cpu / 3600:.2f} CPU hours when "
            "they last ran (the tables `runtime` and `cost` have what the work took)"
        )
        for r in reports:
            if r.status != "done":
                typer.echo(f"{r.status}: {r.stage} {r.job}: {r.message}\n  log: {r.log}".rstrip())
    if n_failed:
        raise typer.Exit(FAILED_JOBS)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in record.items()
    }


def _shown(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"
