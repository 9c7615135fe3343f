"""`satbench sat ablation`: what knowledge is worth on a run whose crops are prepared."""

from __future__ import annotations

from pathlib import Path

import typer


def ablation(
    run: Path = typer.Option(..., help="Run whose cases and prepared crops are used."),
    variants: str = typer.Option(
        "class-id,untuned,stage-1,stages-1-2",
        help="Names, with commas between them; `stage-2` is a further one.",
    ),
    seeds: str = typer.Option("0,1,2", help="Seeds, with commas between them."),
    steps: int = typer.Option(600, min=1, help="Steps of each segmentation."),
    atlas_steps: int = typer.Option(120, min=1, help="Steps of stage 2."),
    knowledge: str | None = typer.Option(None, help="Preset of stage 1; `quick` by default."),
    threads: int = typer.Option(1, min=1, help="CPU threads of torch."),
) -> None:
    """Train each variant with each seed, predict and measure the test cases, write one table.

    Goes on where a killed call stopped; finished runs are not repeated. Calls with other variants
    or seeds may run at the same time, once stage 1 is trained. Writes
    RUN/ablation/ablation.{md,csv,json}.
    """
    import torch

    from evaluation.config import load_frozen
    from evaluation.models.presets import preset_in_use
    from evaluation.paths import RunPaths
    from sat.ablation.report import write_report
    from sat.ablation.running import run_variant
    from sat.ablation.text import text_cost, text_of_stage_1
    from sat.ablation.variants import find_variant, variant_preset
    from sat.config import MODEL, load_preset
    from sat.knowledge.settings import load_settings

    torch.set_num_threads(threads)
    base = load_preset(preset_in_use(RunPaths(run), load_frozen(run), MODEL))
    chosen = [find_variant(name.strip()) for name in variants.split(",")]
    folder = None
    if any(variant.encoder == "knowledge" for variant in chosen):
        folder = text_of_stage_1(run, load_settings(knowledge), seed=0)
    for seed in map(int, seeds.split(",")):
        for variant in chosen:
            preset = variant_preset(base, variant, steps, atlas_steps, folder)
            found = run_variant(run, variant, seed, preset)
            typer.echo(f"{variant.title}, seed {seed}: DSC {found['dsc']:.3f}")
            table = write_report(run, text_cost(run))
    typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(str(table))
