"""The folder that `satbench segment` writes: masks, a picture, and a list of what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.classes.modality import Modality
from evaluation.files.reading import mapping_of
from evaluation.files.writing import write_json
from evaluation.volumes.dicom_segments import write_seg
from evaluation.volumes.image_files import Array, write_volume
from evaluation.volumes.segmentation import Segmentation
from sat.segment.naming import Prompt
from sat.segment.overlay import draw_overlay
from sat.segment.scan import Scan

LABELS_FILE = "labels.json"
OVERLAY_FILE = "overlay.png"
FLAT_STEM = "segmentation"
MAX_NAME = 80


@dataclass(frozen=True)
class Found:
    """One class of the answer: its file, its value there, its size, and where its name led."""

    prompt: Prompt
    file: str
    value: int
    voxels: int
    millilitres: float


def write_answer(
    out: Path,
    scan: Scan,
    modality: Modality,
    prompts: Sequence[Prompt],
    answer: Segmentation,
    *,
    flat: bool,
    dicom_seg: bool = False,
    overlay: bool,
    about: Mapping[str, Any],
) -> list[Found]:
    """Write one file for each class, or one for all, the picture, and last `labels.json`.

    Args:
        out: folder; an earlier answer in it is removed, other files stay.
        scan: whose grid and orientation the files get.
        modality: grey values of the picture.
        prompts: the classes, in the order of their values in a label map.
        answer: their masks in RAS-closest orientation.
        flat: one label map.
        dicom_seg: one DICOM SEG of a scan that is a DICOM series; its segments may overlap.
        overlay: draw the picture.
        about: what `labels.json` says first.
    """
    _remove_old(out)
    out.mkdir(parents=True, exist_ok=True)
    names = [prompt.name for prompt in prompts]
    sizes = {name: int(answer.mask(name).sum()) for name in names}
    labels, overlapping = flattened(answer, names, sizes)
    voxel_ml = float(abs(np.linalg.det(scan.stored.affine[:3, :3]))) / 1000
    files = _file_names(prompts, scan.suffix)
    one_file = FLAT_STEM + (".dcm" if dicom_seg else scan.suffix)
    found = []
    for number, (prompt, own_file) in enumerate(zip(prompts, files, strict=True), start=1):
        size = sizes[prompt.name]
        file, value = (one_file, number) if flat or dicom_seg else (own_file, 1)
        if file == own_file:
            mask = answer.mask(prompt.name).astype(np.uint8)
            write_volume(out / own_file, scan.as_stored(mask))
        found.append(Found(prompt, file, value, size, size * voxel_ml))
    if dicom_seg:
        write_seg(
            out / one_file,
            scan.slices,
            names,
            lambda name: np.asarray(scan.as_stored(answer.mask(name)).array),
            None if overlapping else scan.as_stored(labels).array,
        )
    elif flat:
        write_volume(out / one_file, scan.as_stored(labels))
    if overlay:
        spacing = scan.image.spacing_mm
        # Not by the label map: there a class may be covered by smaller ones.
        legend = [name if sizes[name] else f"{name} (empty)" for name in names]
        draw_overlay(
            out / OVERLAY_FILE, scan.image.array, labels, legend, spacing, modality, scan.name
        )
    write_json(out / LABELS_FILE, {**about, **_listed(found, overlapping)})
    return found


def _remove_old(out: Path) -> None:
    """Remove an earlier answer, file by file as its own list has them."""
    path = out / LABELS_FILE
    if not path.is_file():
        return
    try:
        listed = [str(item["file"]) for item in mapping_of(path)["classes"]]
    except (KeyError, TypeError):
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


def _listed(found: Sequence[Found], overlapping: int) -> dict[str, Any]:
    return {
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
                "similarity": item.prompt.similarity,
                "far": item.prompt.far,
                "doubtful": item.prompt.doubtful,
                "file": item.file,
                "value": item.value,
                "voxels": item.voxels,
                "volume_ml": round(item.millilitres, 3),
            }
            for item in found
        ],
    }
