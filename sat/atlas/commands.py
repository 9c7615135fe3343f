"""`satbench sat atlas`: the text-atlas stage of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sat.atlas.setup import AtlasRun

Run = typer.Option(..., help="The run's folder, results/<name>.")
Threads = typer.Option(1, min=1, help="CPU threads of torch.")


def register(sat: typer.Typer) -> None:
    """Add the group `atlas` to `satbench sat`."""
    atlas = typer.Typer(
        help="Stage 2 of the knowledge injection: regions of the encoder against class texts.",
        no_args_is_help=True,
    )
    atlas.command("train")(train)
    atlas.command("retrieval")(retrieval)
    sat.add_typer(atlas, name="atlas")


def train(run: Path = Run, threads: int = Threads) -> None:
    """Train the encoder on the run's prepared crops; goes on where a killed training stopped.

    Writes runs/sat-nano/atlas/encoder.pt, from which the segmentation starts if its preset says
    `initial_encoder: atlas/encoder.pt`, and retrieval.json.
    """
    from sat.atlas.training import measure_atlas, train_atlas

    atlas = _atlas_of(run, threads)
    done = train_atlas(atlas)
    typer.echo(f"{done.steps_now} steps in {done.seconds:.0f} s, {done.encoder}")
    _tell(measure_atlas(atlas))


def retrieval(run: Path = Run, threads: int = Threads) -> None:
    """How often regions of patients kept out find the text of their class, before and after."""
    from sat.atlas.training import measure_atlas

    _tell(measure_atlas(_atlas_of(run, threads)))


def _atlas_of(run: Path, threads: int) -> AtlasRun:
    import torch

    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from sat.atlas.setup import prepare_atlas
    from sat.config import load_preset

    torch.set_num_threads(threads)
    config = load_frozen(run)
    preset = load_preset(config.presets.get("sat-nano"))
    return prepare_atlas(RunPaths(run).model_run("sat-nano"), preset, config.seed)


def _tell(found: dict[str, object]) -> None:
    for when in ("before", "after"):
        counts = found[when]
        assert isinstance(counts, dict)
        shown = ", ".join(
            f"{title} {_percent(counts[key])}"
            for title, key in (
                ("R@1", "recall_at_1"),
                ("R@5", "recall_at_5"),
                ("R@10", "recall_at_10"),
                ("side confused", "side_confusion"),
                ("neighbour confused", "neighbour_confusion"),
            )
        )
        typer.echo(f"{when}: {shown} ({counts['regions']} regions, {counts['texts']} texts)")


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"
