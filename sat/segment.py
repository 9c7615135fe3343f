"""`satbench segment`: one scan and a few names in, masks on the scan's own grid out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation import __version__
from evaluation.cases import Modality, Segmentation
from evaluation.errors import BenchError
from evaluation.files import TEMPORARY_PREFIX, sha256, write_json
from evaluation.io import Array, write_volume
from sat.model import SatModel, load_model
from sat.naming import Prompt, embed, resolve, trained_names
from sat.overlay import draw_overlay
from sat.predict import segment
from sat.scan import Scan, doubts, read_scan

LABELS_FILE = "labels.json"
OVERLAY_FILE = "overlay.png"
FLAT_STEM = "segmentation"
MAX_NAME = 80


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
    overwrite: bool = False
    overlay: bool = True
    text_encoder: Path | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Found:
    """One class of the answer: its file, its value there, its size, and where its name led."""

    prompt: Prompt
    file: str
    value: int
    voxels: int
    millilitres: float


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


def segment_scan(request: Request, progress: Progress) -> list[Found]:
    """Segment one scan and write the answer.

    The folder gets one file for each class (or one label map), `overlay.png` and, last,
    `labels.json` with every class's file, value, size and the way its name was understood.

    Raises:
        BenchError: see `read_scan`, `resolve`, `load_model`; or the answer's folder is in use.
    """
    if not request.prompts and not request.every:
        raise BenchError(
            "no prompt: name at least one structure",
            hint='for example --prompt "left kidney" --prompt liver, or --all',
        )
    _require_free(request)
    model = _load(request)
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
    return _write(request, scan, prompts, answer, model)


def _require_free(request: Request) -> None:
    out = request.out
    if out.exists() and not out.is_dir():
        raise BenchError("the answer goes to a folder, and this is a file", file=out)
    if not out.is_dir():
        return
    there = sorted(p.name for p in out.iterdir() if not p.name.startswith(TEMPORARY_PREFIX))
    if there and not request.overwrite:
        raise BenchError(
            "the output folder is not empty",
            file=out,
            found=", ".join(there[:4]) + (" ..." if len(there) > 4 else ""),
            hint="name another folder, or add --overwrite",
        )


def _load(request: Request) -> SatModel:
    if request.device not in ("auto", "cpu", "cuda"):
        raise BenchError("unknown device", found=request.device, expected="auto, cpu or cuda")
    if request.checkpoint.is_dir():
        raise BenchError("the checkpoint is a folder", file=request.checkpoint, expected="a file")
    model = load_model(request.checkpoint)
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise BenchError(
            "the checkpoint holds weights that are not numbers",
            file=request.checkpoint,
            found=f"{len(bad)} tensors, the first is {bad[0]}",
            hint="train it again",
        )
    there = torch.cuda.is_available()
    if request.device == "cuda" and not there:
        raise BenchError("torch sees no GPU", hint="use --device cpu")
    return model.to("cuda" if there and request.device != "cpu" else "cpu")


def _write(
    request: Request,
    scan: Scan,
    prompts: Sequence[Prompt],
    answer: Segmentation,
    model: SatModel,
) -> list[Found]:
    out = request.out
    _remove_old(out)
    out.mkdir(parents=True, exist_ok=True)
    sizes = {prompt.name: int(answer.mask(prompt.name).sum()) for prompt in prompts}
    labels, overlapping = flattened(answer, [prompt.name for prompt in prompts], sizes)
    voxel_ml = float(abs(np.linalg.det(scan.stored.affine[:3, :3]))) / 1000
    files = _file_names(prompts, scan.suffix)
    flat_file = FLAT_STEM + scan.suffix
    found = []
    for number, (prompt, own_file) in enumerate(zip(prompts, files, strict=True), start=1):
        size = sizes[prompt.name]
        file, value = (flat_file, number) if request.flat else (own_file, 1)
        if not request.flat:
            mask = answer.mask(prompt.name).astype(np.uint8)
            write_volume(out / own_file, scan.as_stored(mask))
        found.append(Found(prompt, file, value, size, size * voxel_ml))
    if request.flat:
        write_volume(out / flat_file, scan.as_stored(labels))
    if request.overlay:
        names = [prompt.name for prompt in prompts]
        spacing, title = scan.image.spacing_mm, scan.name
        draw_overlay(
            out / OVERLAY_FILE, scan.image.array, labels, names, spacing, request.modality, title
        )
    write_json(out / LABELS_FILE, _record(request, scan, found, overlapping, model))
    return found


def _remove_old(out: Path) -> None:
    """Remove an earlier answer, file by file as its own list has them."""
    import json

    path = out / LABELS_FILE
    if not path.is_file():
        return
    try:
        listed = [str(item["file"]) for item in json.loads(path.read_text("utf-8"))["classes"]]
    except (ValueError, KeyError, TypeError):
        listed = []
    path.unlink()
    for name in {*listed, OVERLAY_FILE}:
        # A list from elsewhere may name files of other folders.
        if Path(name).name == name:
            (out / name).unlink(missing_ok=True)


def flattened(
    answer: Segmentation, names: Sequence[str], sizes: dict[str, int]
) -> tuple[Array, int]:
    """One label map (x, y, z) with the value i + 1 for `names[i]`, and how many voxels overlap.

    Where masks overlap, the class with fewer voxels is kept, so a tumour stays visible in its
    organ.
    """
    labels = np.zeros(answer.shape, dtype=np.uint8 if len(names) < 256 else np.uint16)
    taken = np.zeros(answer.shape, dtype=bool)
    overlapping = np.zeros(answer.shape, dtype=bool)
    numbers = {name: number for number, name in enumerate(names, start=1)}
    for name in sorted(names, key=lambda n: sizes[n], reverse=True):
        mask = answer.mask(name)
        overlapping |= taken & mask
        taken |= mask
        labels[mask] = numbers[name]
    return labels, int(overlapping.sum())


def _file_names(prompts: Sequence[Prompt], suffix: str) -> list[str]:
    """A file name for each prompt that no other has, on any file system."""
    used: set[str] = {FLAT_STEM}
    files = []
    for prompt in prompts:
        stem = re.sub(r"[^\w]+", "_", prompt.name).strip("_")[:MAX_NAME] or "prompt"
        free, number = stem, 2
        while free in used:
            free, number = f"{stem}_{number}", number + 1
        used.add(free)
        files.append(free + suffix)
    return files


def _record(
    request: Request, scan: Scan, found: Sequence[Found], overlapping: int, model: SatModel
) -> dict[str, Any]:
    return {
        "image": str(request.image),
        "modality": request.modality,
        "shape": list(scan.stored.array.shape),
        "spacing_mm": list(scan.stored.spacing_mm),
        "orientation": scan.orientation,
        "checkpoint": str(request.checkpoint),
        "checkpoint_sha256": sha256(request.checkpoint),
        "preset": model.preset.name,
        "satbench": __version__,
        "overlap": {
            "voxels": overlapping,
            "rule": "the class with fewer voxels is kept in a label map and in the picture",
        },
        "classes": [
            {
                "name": item.prompt.name,
                "asked": list(item.prompt.asked),
                "understood_as": item.prompt.origin,
                "nearest_trained": list(item.prompt.nearest),
                "file": item.file,
                "value": item.value,
                "voxels": item.voxels,
                "volume_ml": round(item.millilitres, 3),
            }
            for item in found
        ],
    }
