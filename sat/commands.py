"""Sub-commands of the `satbench` command line that sat adds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from sat.ablation.commands import ablation
from sat.atlas.commands import register as register_atlas
from sat.knowledge.commands import register as register_knowledge
from sat.released.commands import convert_released
from sat.training.sampling_command import sampling

MODEL_ID = "sat-nano"
Run = typer.Option(..., help="The run's folder, results/<name>.")


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    sat = typer.Typer(help="SAT-Nano: prepare its training data, train it, look for its errors.")
    sat.command("prepare")(prepare)
    sat.command("train")(train)
    sat.command("sampling")(sampling)
    sat.command("sides")(sides)
    sat.command("diagnose")(diagnose)
    register_atlas(sat)
    sat.command("ablation")(ablation)
    register_knowledge(sat)
    sat.command("convert-released")(convert_released)
    app.add_typer(sat, name="sat")
    app.command("segment")(segment)


def prepare(run: Path = Run) -> None:
    """Put the run's training cases on the preset's own grid."""
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from sat.config import load_preset
    from sat.training.prepare import prepare_run

    config = load_frozen(run)
    preset = load_preset(config.presets.get(MODEL_ID))
    index = prepare_run(RunPaths(run), config, MODEL_ID, preset)
    cases = sum(len(entry.cases) for entry in index.entries)
    classes = sum(len(entry.classes) for entry in index.entries)
    typer.echo(f"{cases} cases of {len(index.entries)} entries prepared, {classes} classes")


def train(
    run: Path = Run,
    threads: int = typer.Option(1, min=1, help="CPU threads of torch, in each process."),
    processes: int = typer.Option(
        1, min=0, help="Processes on all nodes, one a GPU; 0: for each that Slurm shows."
    ),
    nodes: int = typer.Option(1, min=1, help="Nodes of a Slurm job to spread them over."),
) -> None:
    """Train SAT-Nano on everything prepared; goes on where a killed training stopped.

    Several processes share each step. Started by torchrun, the command is one of them.
    """
    from evaluation.config import load_frozen
    from evaluation.paths import RunPaths
    from sat.config import load_preset

    config = load_frozen(run)
    preset = load_preset(config.presets.get(MODEL_ID))
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        from evaluation.workflow.gpu import require_gpu
        from sat.training.launch import launch, shown_gpus

        processes = processes or max(1, shown_gpus(os.environ)) * nodes
        if preset.training.device == "cuda":
            require_gpu(max(1, processes // nodes))
        if processes > 1:
            program = [sys.argv[0], "sat", "train", "--run", str(run), "--threads", str(threads)]
            launch(program, processes, nodes, threads)
            return
    import torch

    from sat.training import train as training
    from sat.training.distributed import team_of_environment

    team = team_of_environment()
    torch.set_num_threads(threads)
    result = training.train(RunPaths(run).model_run(MODEL_ID), preset, config.seed)
    if team.leads:
        typer.echo(
            f"{preset.name}: {result.steps_now} steps in {result.seconds:.0f} s, "
            f"{result.checkpoint}"
        )


def sides(run: Path = Run, model: str = typer.Option(MODEL_ID, help="Whose predictions.")) -> None:
    """Count left and right exchanged in the predictions of the test cases."""
    from evaluation.config import load_frozen
    from evaluation.files.writing import write_text
    from evaluation.paths import RunPaths
    from sat.diagnosis.sides import SideSwaps, run_side_swaps
    from sat.training.prepare import cases_of_split, datasets_of_run

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


def diagnose(
    run: Path = Run,
    model: str = typer.Option(MODEL_ID, help="Whose predictions; a checkpoint in its folder."),
    checkpoint: Path | None = typer.Option(
        None, "--checkpoint", help="Calibrate this checkpoint instead of the run's own."
    ),
    part: float = typer.Option(
        0.2, "--part", min=0.0, max=1.0, help="Part of the training patients to calibrate on."
    ),
    most: int = typer.Option(40, "--most", min=1, help="At most so many cases of each entry."),
) -> None:
    """Sides exchanged, neighbours confused, and which threshold would have been best.

    The first two look at the predictions of the test cases. Thresholds are tried on a part of
    the training cases only, never on test cases.
    """
    from evaluation.config import load_frozen
    from evaluation.files.writing import write_json
    from evaluation.paths import RunPaths
    from sat.diagnosis.report import diagnose_run, report_lines

    paths = RunPaths(run)
    found = diagnose_run(paths, load_frozen(run), model, checkpoint, part, most)
    out = paths.model_run(model) / "diagnostics.json"
    write_json(out, found)
    for line in report_lines(found):
        typer.echo(line)
    typer.echo(str(out))


def segment(
    image: Path = typer.Argument(
        ..., help="NIfTI, NRRD or MetaImage file, or a folder with one DICOM series."
    ),
    prompt: list[str] = typer.Option(
        [], "--prompt", "-p", help="A structure, such as liver; may be repeated."
    ),
    every: bool = typer.Option(False, "--all", help="Every class the checkpoint was trained on."),
    modality: str = typer.Option(..., "--modality", "-m", help="ct, mri or pet."),
    checkpoint: Path = typer.Option(
        ..., "--checkpoint", "-c", help="A trained SAT-Nano, runs/sat-nano/checkpoint.pt of a run."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="A new folder for the answer."),
    flat: bool = typer.Option(False, "--flat", help="One label map instead of a file a class."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an answer that is there."),
    overlay: bool = typer.Option(True, help="Draw overlay.png."),
    text_encoder: Path | None = typer.Option(
        None, "--text-encoder", help="Folder of the text encoder, if the preset has one of its own."
    ),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; all by default."),
) -> None:
    """Segment one scan by the names of structures.

    Names may be printed names, aliases or raw names of the datasets (`satbench classes`).
    Masks come on the scan's own grid and in its orientation.
    """
    from evaluation.classes.modality import find_modality

    kind = find_modality(modality)
    import torch

    from sat.segment.console import segment_shown
    from sat.segment.segment import Request

    if threads is not None:
        torch.set_num_threads(threads)
    request = Request(
        image=image,
        modality=kind,
        checkpoint=checkpoint,
        out=out,
        prompts=tuple(prompt),
        every=every,
        flat=flat,
        overwrite=overwrite,
        overlay=overlay,
        text_encoder=text_encoder,
        device=device,
    )
    found = segment_shown(request)
    width = max(len(item.prompt.name) for item in found)
    for item in found:
        size = f"{item.millilitres:10.1f} ml" if item.voxels else "     empty   "
        where = f"{item.file} = {item.value}" if flat else item.file
        typer.echo(f"{item.prompt.name:{width}} {size}  {where}")
    typer.echo(str(out))
