"""A page for each dataset in which one case can be looked through: scan, reference, predictions.

It is drawn by NiiVue (`templates/niivue.umd.js.gz`, licences beside it), which lies once beside the
pages; the volumes are in the page itself, so it opens from disk. They are cut out around the
reference and thinned until the page stays small.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from evaluation.errors import BenchError
from evaluation.files.writing import atomic_path, write_text
from evaluation.volumes.segmentation import Segmentation
from reports.gallery.overlay import window_for
from reports.gallery.volumes import class_mask, open_case, open_prediction
from reports.layout.pages import embedded_json, render, template_file, template_text
from reports.layout.style import PREDICTION_COLOUR, REFERENCE_COLOUR
from reports.source.run import RunSource
from reports.source.words import few_of

ENGINE = "niivue.js"
MOST_PAGES = 12
MOST_MODELS = 4
MOST_CLASSES = 16
"""One bit of a 16-bit number each, so that classes may overlap."""
MOST_VOXELS = 1_200_000
MARGIN_MM = 30.0


@dataclass(frozen=True)
class Viewer:
    """A page of one case; `file` is relative to the gallery."""

    dataset: str
    title: str
    case: str
    file: str


def write_viewers(source: RunSource, cases: Mapping[str, str], folder: Path) -> list[Viewer]:
    """Write `3d-<dataset>.html` for at most 12 datasets, and the viewer's code beside them.

    Args:
        source: the run.
        cases: dataset → the case to show, whose image and reference are there.
        folder: of the gallery.
    """
    viewers = []
    for dataset, case in list(cases.items())[:MOST_PAGES]:
        title = source.dataset_title(dataset)
        page = _page(source, dataset, case, title)
        if page:
            viewers.append(Viewer(dataset, title, case, f"3d-{dataset}.html"))
            write_text(folder / viewers[-1].file, page)
    if viewers:
        packed = template_file("niivue.umd.js.gz")
        licences = template_text("niivue-licences.txt").replace("*/", "* /")
        code = f"/*!\n{licences}*/\n".encode() + gzip.decompress(packed.read_bytes())
        with atomic_path(folder / ENGINE) as temporary:
            temporary.write_bytes(code)
    return viewers


def _page(source: RunSource, dataset: str, case: str, title: str) -> str:
    """The page, or nothing where no class is in the case."""
    image, spacing_mm, modality, reference = open_case(source.paths, dataset, case)
    classes, bits, more = _of_reference(source, dataset, reference)
    if not classes:
        return ""
    part, step = part_of(bits > 0, spacing_mm)
    answers = {}
    for model in list(dict.fromkeys([*source.asked_for, *source.shown]))[:MOST_MODELS]:
        try:
            answer = open_prediction(source.paths, model, dataset, case)
        except BenchError:
            continue  # no prediction of this case, or not there any more
        answers[model] = np.zeros_like(bits[part])
        for index, name in enumerate(classes):
            answers[model] |= class_mask(answer, dataset, name)[part].astype(np.uint16) << index
    window = window_for(image, modality, classes[0])
    grey = np.clip((image[part] - window.low) / (window.high - window.low), 0, 1)
    scan = np.nan_to_num(255 * grey).astype(np.uint8)
    thinned = f", every {' × '.join(map(str, step))}. voxel" if max(step) > 1 else ""
    words = f"; {more} more classes of the case are not shown" * (more > 0)
    held: dict[str, Any] = {
        "shape": list(scan.shape),
        "spacing": [s * n for s, n in zip(spacing_mm, step, strict=True)],
        "scan": _packed(scan),
        "reference": _packed(bits[part]),
        "classes": classes,
        "models": [
            {"title": source.model_title(m), "bits": _packed(answer)}
            for m, answer in answers.items()
        ],
        "colours": {"reference": REFERENCE_COLOUR, "prediction": PREDICTION_COLOUR},
    }
    spacing = "×".join(f"{s:.3g}" for s in spacing_mm)
    return render(
        "viewer.html.j2",
        run=source.config.name,
        data_kind=source.config.data_kind,
        title=title,
        case=case,
        words=f"{spacing} mm, window {window.name}; cut out around the reference{thinned}{words}",
        classes=few_of(classes),
        models=few_of([source.model_title(m) for m in answers]),
        engine=ENGINE,
        held=Markup(embedded_json(held)),  # noqa: S704 - escaped for a script element
    )


def part_of(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> tuple[tuple[slice, slice, slice], tuple[int, int, int]]:
    """The box around a mask with a margin of 30 mm, and every how many voxels of it are kept.

    The finest axis is thinned first, until at most 1.2 million voxels are left.
    """
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(MARGIN_MM / spacing_mm[axis]))
        box.append((max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, mask.shape[axis])))
    step = [1, 1, 1]
    while np.prod([-(-(high - low) // n) for (low, high), n in zip(box, step, strict=True)]) > (
        MOST_VOXELS
    ):
        step[int(np.argmin(np.array(spacing_mm) * step))] += 1
    slices = [slice(low, high, n) for (low, high), n in zip(box, step, strict=True)]
    return (slices[0], slices[1], slices[2]), (step[0], step[1], step[2])


def _of_reference(
    source: RunSource, dataset: str, reference: Segmentation
) -> tuple[list[str], NDArray[np.uint16], int]:
    """The first 16 classes that the case has, in the card's order, and how many more it has.

    Bit i of a voxel says whether it belongs to the i-th class.
    """
    classes: list[str] = []
    bits = np.zeros(reference.shape, dtype=np.uint16)
    more = 0
    for entry in source.dataset_cards[dataset].classes:
        mask = class_mask(reference, dataset, entry.name)
        if not mask.any():
            continue
        if len(classes) == MOST_CLASSES:
            more += 1
        else:
            bits |= mask.astype(np.uint16) << len(classes)
            classes.append(entry.name)
    return classes, bits, more


def _packed(array: NDArray[Any]) -> str:
    """The array, x fastest, little-endian, compressed (gzip), in base64."""
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes(order="F")
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode("ascii")
