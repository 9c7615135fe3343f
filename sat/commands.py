"""Sub-commands of the `satbench` command line that sat adds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from evaluation.commands.groups import SAT
from sat.ablation.commands import ablation
from sat.knowledge.commands import register as register_knowledge
from sat.released.commands import convert_released
from sat.sampling_command import sampling

MODEL_ID = "sat-nano"
SOME_FAILED = 3
Run = typer.Option(..., help="The run's folder, results/<name>.")


def register(app: typer.Typer) -> None:
    """Add this package's commands to the command line."""
    sat = typer.Typer(help="SAT-Nano: its draws, its errors, what knowledge is worth.")
    sat.command("sampling")(sampling)
    sat.command("diagnose")(diagnose)
    sat.command("retrieval")(retrieval)
    sat.command("atlas")(atlas)
    sat.command("ablation")(ablation)
    register_knowledge(sat)
    sat.command("convert-released")(convert_released)
    app.command("segment", rich_help_panel=SAT)(segment)
    app.add_typer(sat, name="sat", rich_help_panel=SAT)


def diagnose(
    run: Path = Run,
    model: str = typer.Option(MODEL_ID, help="Whose checkpoint, in its folder of the run."),
    checkpoint: Path | None = typer.Option(
        None, "--checkpoint", help="Calibrate this checkpoint instead of the run's own."
    ),
    part: float = typer.Option(
        0.2, "--part", min=0.0, max=1.0, help="Part of the training patients to calibrate on."
    ),
    most: int = typer.Option(40, "--most", min=1, help="At most so many cases of each entry."),
) -> None:
    """Calibration of the probabilities, and which threshold would have been best.

    Thresholds are tried on a part of the training cases only, never on test cases.
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


def retrieval(
    run: Path | None = typer.Option(
        None, "--run", help="Regions of the run's text-atlas stage against the texts of classes."
    ),
    encoder: str | None = typer.Option(
        None, "--encoder", help="A folder of stage 1, one in Hugging Face form, or `minilm`."
    ),
    before: str | None = typer.Option(
        None, "--before", help="Another one beside it; by default where its stage 1 started."
    ),
    held_out: float | None = typer.Option(
        None, "--held-out", min=0.0, max=0.99, help="Part held out; by default as in its training."
    ),
    out: Path | None = typer.Option(None, "--out", help="Also write an encoder's results as JSON."),
    threads: int = typer.Option(1, min=1, help="CPU threads of torch."),
) -> None:
    """What knowledge taught: does a name find its definition, a region the text of its class?

    Of a text encoder, how often a name finds its definition, and how near names of other
    structures are. Of a run, how often regions of patients kept out find the text of their class.
    """
    from evaluation.errors import BenchError

    if (run is None) == (encoder is None):
        raise BenchError("name a run or a text encoder", expected="either --run or --encoder")
    if run is not None:
        from sat.atlas.learnt import atlas_of, report_lines
        from sat.atlas.training import measure_atlas

        for line in report_lines(measure_atlas(atlas_of(run, threads))):
            typer.echo(line)
        return
    import torch

    from sat.knowledge.commands import report_retrieval

    assert encoder is not None
    torch.set_num_threads(threads)
    report_retrieval(encoder, before, held_out, out)


def atlas(
    folder: Path = typer.Argument(..., help="An atlas for stage 2 (docs/pages/knowledge.md)."),
) -> None:
    """Read an atlas of your own and say what is in it, or what is wrong with it."""
    from sat.atlas.volumes import describe

    for line in describe(folder):
        typer.echo(line)


def segment(
    image: Path | None = typer.Argument(
        None,
        help="NIfTI, NRRD or MetaImage file, a folder with one DICOM series, or a folder of scans.",
    ),
    prompt: list[str] = typer.Option(
        [], "--prompt", "-p", help="A structure, such as liver; may be repeated."
    ),
    every: bool = typer.Option(False, "--all", help="Every class the checkpoint was trained on."),
    modality: str | None = typer.Option(None, "--modality", "-m", help="ct, mri or pet."),
    checkpoint: Path = typer.Option(
        ..., "--checkpoint", "-c", help="A trained SAT-Nano, runs/sat-nano/checkpoint.pt of a run."
    ),
    out: Path | None = typer.Option(None, "--out", "-o", help="A new folder for the answer."),
    known: bool = typer.Option(
        False, "--list", help="Only list what the checkpoint was trained on, with other spellings."
    ),
    flat: bool = typer.Option(False, "--flat", help="One label map instead of a file a class."),
    dicom_seg: bool = typer.Option(
        False, "--dicom-seg", help="One DICOM SEG, of a DICOM series; needs the extra `clinical`."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an answer that is there."),
    overlay: bool = typer.Option(True, help="Draw overlay.png."),
    text_encoder: Path | None = typer.Option(
        None, "--text-encoder", help="Folder of the text encoder, if the preset has one of its own."
    ),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; all by default."),
) -> None:
    """Segment one scan by the names of structures.

    Names may be printed names, aliases or raw names of the datasets (`satbench classes`); any
    other words go to the text encoder, with a word on how near they are to a trained class.
    Masks come on the scan's own grid and in its orientation. Of a folder of scans (files, or
    folders with a file or a DICOM series each) every scan gets a folder in --out; one that fails
    does not end the others (exit code 3), and the same call again does what is missing.
    """
    from evaluation.classes.modality import find_modality

    kind = None if modality is None else find_modality(modality)
    if known:
        from sat.model import load_model
        from sat.segment.known import known_lines

        for line in known_lines(load_model(checkpoint).book, kind):
            typer.echo(line)
        return
    if image is None or kind is None or out is None:
        given = {"IMAGE": image, "--modality": modality, "--out": out}
        lacking = [name for name, value in given.items() if value is None]
        raise typer.BadParameter(f"missing {', '.join(lacking)} (only --list goes without)")
    import torch

    from sat.segment.console import segment_all_shown, segment_shown
    from sat.segment.many import scans_in
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
        dicom_seg=dicom_seg,
        overwrite=overwrite,
        overlay=overlay,
        text_encoder=text_encoder,
        device=device,
    )
    if scans := scans_in(image):
        counts = Counter(answer.status for answer in segment_all_shown(request, scans))
        words = f"{counts['ok']} segmented, {counts['kept']} kept, {counts['failed']} failed"
        typer.echo(f"{out}: {len(scans)} scans: {words}")
        if counts["failed"]:
            raise typer.Exit(SOME_FAILED)
        return
    found = segment_shown(request)
    width = max(len(item.prompt.name) for item in found)
    for item in found:
        size = f"{item.millilitres:10.1f} ml" if item.voxels else "     empty   "
        where = f"{item.file} = {item.value}" if flat or dicom_seg else item.file
        typer.echo(f"{item.prompt.name:{width}} {size}  {where}")
    typer.echo(str(out))
