"""`satbench multi-decoder`: prepare and train the network of a run."""

from __future__ import annotations

from pathlib import Path

import typer

RUN = typer.Option(..., "--run", help="A run's folder, results/<name>.")
PRESET = typer.Option(None, "--preset", help="Instead of the run's (`demo`, `smoke`, `paper`).")

app = typer.Typer(help="Multi-decoder residual U-Net: prepare and train it.", no_args_is_help=True)


@app.command()
def prepare(run: Path = RUN, preset: str | None = PRESET) -> None:
    """Put the run's training cases on the preset's own grid."""
    from baselines.universal.multi_decoder.config import MODEL, load_preset
    from baselines.universal.multi_decoder.prepare import prepare_run
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths

    config = load_frozen(run)
    settings = load_preset(preset or config.presets.get(MODEL))
    index = prepare_run(RunPaths(run), config, settings)
    cases = sum(len(entry.cases) for entry in index.entries)
    classes = sum(len(entry.classes) for entry in index.entries)
    typer.echo(f"{cases} cases of {len(index.entries)} entries prepared, {classes} classes")


@app.command()
def train(
    run: Path = RUN,
    preset: str | None = PRESET,
    threads: int = typer.Option(1, min=1, help="CPU threads of torch."),
) -> None:
    """Train on everything prepared; goes on where a killed training stopped."""
    from baselines.universal.multi_decoder.config import MODEL, load_preset
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths

    config = load_frozen(run)
    settings = load_preset(preset or config.presets.get(MODEL))
    import torch

    from baselines.universal.multi_decoder import train as training

    torch.set_num_threads(threads)
    result = training.train(RunPaths(run).model_run(MODEL), settings, config.seed)
    typer.echo(f"{result.steps_now} steps in {result.seconds:.0f} s, {result.checkpoint}")
