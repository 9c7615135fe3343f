"""`satbench segment`: one scan and a few names in, masks on the scan's own grid out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from evaluation import __version__
from evaluation.classes.modality import Modality
from evaluation.datasets.readers.dicom import series_files
from evaluation.errors import BenchError
from evaluation.files.identity import digest, file_digest
from evaluation.files.writing import visible
from evaluation.volumes.dicom_segments import require_highdicom
from evaluation.volumes.headers import companions
from sat.model import SatModel, load_model
from sat.predict import segment
from sat.segment.answer import Found, write_answer
from sat.segment.naming import embed, resolve, trained_names
from sat.segment.scan import Scan, doubts, read_scan


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        image: volume file or DICOM folder.
        modality: `ct` or `mri`.
        checkpoint: a trained SAT-Nano.
        out: folder of the answer.
        prompts: names of structures.
        every: all classes that the checkpoint was trained on for this modality, too.
        flat: one label map instead of one file for each class.
        dicom_seg: one DICOM SEG instead; the image is a DICOM folder.
        overwrite: replace an answer that is there.
        overlay: draw the picture.
        text_encoder: folder of a text encoder, for checkpoints that need one of the user's.
        device: `auto`, `cpu` or `cuda`.
    """

    image: Path
    modality: Modality
    checkpoint: Path
    out: Path
    prompts: tuple[str, ...] = ()
    every: bool = False
    flat: bool = False
    dicom_seg: bool = False
    overwrite: bool = False
    overlay: bool = True
    text_encoder: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Progress:
    """What is called while the work goes on.

    Attributes:
        warn: a sentence to tell the user.
        encoded: windows of the image done, and all of them.
        segmented: a class is finished, of so many.
    """

    warn: Callable[[str], None]
    encoded: Callable[[int, int], None]
    segmented: Callable[[str, int], None]


def segment_scan(
    request: Request, progress: Progress, model: SatModel | None = None
) -> list[Found]:
    """Segment one scan and write the answer.

    Args:
        request: what is asked for.
        progress: what is called meanwhile.
        model: the checkpoint of the request, where it is loaded already.

    The folder gets one file for each class (or one label map), `overlay.png` and, last,
    `labels.json` with every class's file, value, size and the way its name was understood.

    Raises:
        BenchError: see `read_scan`, `resolve`, `load_model`; or the answer's folder is in use.
    """
    require_prompts(request)
    if request.dicom_seg:
        _require_series(request)
    _require_free(request)
    model = model or load(request)
    texts = list(request.prompts)
    if request.every:
        texts += trained_names(model, request.modality)
    resolved = resolve(model, request.modality, texts)
    scan = read_scan(request.image)
    for doubt in doubts(scan, request.modality):
        progress.warn(doubt)
    prompts, embeddings = embed(model, request.modality, resolved, request.text_encoder)
    for prompt in prompts:
        if prompt.warning:
            progress.warn(prompt.warning)
    names = [prompt.name for prompt in prompts]
    try:
        answer = segment(
            model,
            scan.image,
            request.modality,
            names,
            embeddings,
            on_done=lambda name: progress.segmented(name, len(names)),
            on_encoded=progress.encoded,
        ).segmentation
    except BenchError as error:
        raise BenchError(
            f"this image cannot be segmented: {error.one_line}", file=request.image
        ) from error
    about = _about(request, scan, model)
    try:
        return write_answer(
            request.out,
            scan,
            request.modality,
            prompts,
            answer,
            flat=request.flat,
            dicom_seg=request.dicom_seg,
            overlay=request.overlay,
            about=about,
        )
    except OSError as error:
        raise BenchError(
            "the answer cannot be written",
            file=request.out,
            found=error,
            hint="name another folder",
        ) from error


def require_prompts(request: Request) -> None:
    """Raise a BenchError if nothing is asked for."""
    if not request.prompts and not request.every:
        raise BenchError(
            "no prompt: name at least one structure",
            hint='for example --prompt "left kidney" --prompt liver, or --all',
        )


def _require_series(request: Request) -> None:
    """Raise a BenchError where no DICOM SEG can be made of the answer."""
    if request.flat:
        raise BenchError("--flat and --dicom-seg exclude each other", hint="choose one")
    if not request.image.is_dir():
        raise BenchError(
            "a DICOM SEG refers to the slices of a DICOM series",
            file=request.image,
            expected="a folder of slices",
            hint="give that folder, or leave out --dicom-seg",
        )
    require_highdicom(request.image)


def made_from(request: Request) -> str:
    """A digest of what an answer is made from: contents of scan and checkpoint, and the words.

    Raises:
        BenchError: the scan or the checkpoint is not there.
    """
    image = request.image
    files = series_files(image) if image.is_dir() else companions(image)
    for file in (*files, request.checkpoint):
        if not file.is_file():
            raise BenchError("no such file", file=file, hint="check the path")
    asked = {
        key: str(value)
        for key, value in asdict(request).items()
        if key not in ("image", "checkpoint", "out", "overwrite", "device")
    }
    sums = [[file.name, file_digest(file)] for file in files]
    return digest(__version__, asked, sums, file_digest(request.checkpoint))


def _require_free(request: Request) -> None:
    out = request.out
    if out.exists() and not out.is_dir():
        raise BenchError("the answer goes to a folder, and this is a file", file=out)
    if not out.is_dir():
        above = next(folder for folder in out.absolute().parents if folder.exists())
        if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
            raise BenchError(
                "the output folder cannot be made", file=out, found=f"no way into {above}"
            )
        return
    there = [path.name for path in visible(out)]
    if there and not request.overwrite:
        raise BenchError(
            "the output folder is not empty",
            file=out,
            found=", ".join(there[:4]) + (" ..." if len(there) > 4 else ""),
            hint="name another folder, or add --overwrite",
        )


def load(request: Request) -> SatModel:
    """The checkpoint of a request on its device.

    Raises:
        BenchError: no such device, or see `load_model`.
    """
    if request.device not in ("auto", "cpu", "cuda"):
        raise BenchError("unknown device", found=request.device, expected="auto, cpu or cuda")
    if request.checkpoint.is_dir():
        raise BenchError("the checkpoint is a folder", file=request.checkpoint, expected="a file")
    model = load_model(request.checkpoint)
    there = torch.cuda.is_available()
    if request.device == "cuda" and not there:
        raise BenchError("torch sees no GPU", hint="use --device cpu")
    return model.to("cuda" if there and request.device != "cpu" else "cpu")


def _about(request: Request, scan: Scan, model: SatModel) -> dict[str, Any]:
    return {
        "image": str(request.image),
        "modality": request.modality,
        "shape": list(scan.stored.array.shape),
        "spacing_mm": list(scan.stored.spacing_mm),
        "orientation": scan.orientation,
        "checkpoint": str(request.checkpoint),
        "checkpoint_sha256": file_digest(request.checkpoint),
        "made_from": made_from(request),
        "preset": model.preset.name,
        "satbench": __version__,
    }
