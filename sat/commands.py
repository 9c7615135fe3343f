"""Sub-commands of the `satbench` command line that sat adds."""

from __future__ import annotations

from pathlib import Path

import typer

MODEL_ID = "sat-nano"
Run = typer.Option(..., help="The run's folder, results/<name>.")


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    sat = typer.Typer(help="SAT-Nano: prepare its training data and train it.")
    sat.command("prepare")(prepare)
    sat.command("train")(train)
    sat.command("sides")(sides)
    app.add_typer(sat, name="sat")


def prepare(run: Path = Run) -> None:
    """Put the run's training cases on the preset's own grid."""
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from sat.config import load_preset
    from sat.prepare import prepare_run

    config = load_frozen(run)
    preset = load_preset(config.presets.get(MODEL_ID, "nano"))
    index = prepare_run(RunPaths(run), config, MODEL_ID, preset)
    cases = sum(len(entry.cases) for entry in index.entries)
    classes = sum(len(entry.classes) for entry in index.entries)
    typer.echo(f"{cases} cases of {len(index.entries)} entries prepared, {classes} classes")


def train(
    run: Path = Run,
    threads: int = typer.Option(1, min=1, help="CPU threads of torch."),
) -> None:
    """Train SAT-Nano on everything prepared; goes on where a killed training stopped."""
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from sat.config import load_preset

    config = load_frozen(run)
    preset = load_preset(config.presets.get(MODEL_ID, "nano"))
    import torch

    from sat import train as training

    torch.set_num_threads(threads)
    result = training.train(RunPaths(run).model_run(MODEL_ID), preset, config.seed)
    typer.echo(
        f"{preset.name}: {result.steps_now} steps in {result.seconds:.0f} s, {result.checkpoint}"
    )


def sides(run: Path = Run, model: str = typer.Option(MODEL_ID, help="Whose predictions.")) -> None:
    """Count left and right exchanged in the predictions of the test cases."""
    from evaluation.config import load_frozen
    from evaluation.files import write_text
    from evaluation.paths import RunPaths
    from sat.diagnostics import SideSwaps, run_side_swaps
    from sat.prepare import cases_of_split, datasets_of_run

    config, paths = load_frozen(run), RunPaths(run)
    lines, total = ["dataset,pairs,swapped,empty"], SideSwaps(0, 0, 0)
    for dataset in datasets_of_run(paths, config):
        cases = cases_of_split(paths, dataset, "test")
        counts = run_side_swaps(paths, config, model, dataset, cases)
        if counts.pairs or counts.empty:
            lines.append(f"{dataset},{counts.pairs},{counts.swapped},{counts.empty}")
            total += counts
    out = paths.model_run(model) / "side_swaps.csv"
    write_text(out, "\n".join(lines) + "\n")
    typer.echo(
        f"{total.swapped} of {total.pairs} (case, pair)s have left and right exchanged "
        f"({total.empty} more are empty): {out}"
    )
