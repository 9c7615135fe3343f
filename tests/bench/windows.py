"""`make bench-windows`: what crops without a target are worth in a scan larger than its patch.

Virtual hearts in a field of 432 mm, most windows of which show no heart. The same network is
trained twice, with every crop centred on the heart (`foreground_p` 1) and as the preset `cine`
draws; both predict the same unseen patients. DSC, precision and recall, means over both frames
and both classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from evaluation.api.arrays import score
from evaluation.datasets.phantoms.canvas import FieldOfView
from evaluation.datasets.phantoms.heart import LEFT, MUSCLE, draw_heart
from evaluation.files.reading import mapping_of
from evaluation.files.writing import write_text
from evaluation.spent import SPENT_FILE
from evaluation.training.empty_views import empty_views
from evaluation.training.prepared_case import prepare_case
from evaluation.training.sampling_report import run_groups
from evaluation.training.store import FORMAT, INDEX_FILE, PreparedEntry, PreparedIndex
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation, pack_masks
from sat.config import Preset, load_preset
from sat.model import model_from
from sat.predict import segment
from sat.train import train
from tests.bench.running import Out, run, tell

PRESET, DATASET = "cine", "hearts"
CLASSES = (LEFT, MUSCLE)
METRICS = ("dsc", "precision", "recall")
SHAPE, SPACING_MM, SHIFT_MM = (144, 144, 10), (3.0, 3.0, 8.0), 60.0
TRAINED, TESTED = range(8), range(100, 104)


def hearts(patients: Sequence[int]) -> Iterator[tuple[str, Volume, Segmentation]]:
    """Both frames of each patient, the heart anywhere within 60 mm of the field's middle."""
    for patient in patients:
        random = np.random.default_rng(patient)
        x, y = random.uniform(-SHIFT_MM, SHIFT_MM, 2)
        field = FieldOfView(SHAPE, SPACING_MM, (float(x), float(y), 0.0))
        for frame in ("ed", "es"):
            drawn = draw_heart(patient, field, contracted=frame == "es", noise=random)
            affine = np.diag([*SPACING_MM, 1.0])
            masks = {name: drawn.mask(name) for name in CLASSES}
            image = Volume(drawn.image, affine)
            yield f"{patient}_{frame}", image, pack_masks(masks, affine, "annotated")


def prepare(store: Path, preset: Preset) -> None:
    """The training patients on the preset's grid."""
    cases = []
    for case, image, masks in hearts(TRAINED):
        prepare_case(store / DATASET / case, DATASET, case, "mri", image, masks, preset.grid)
        cases.append(case)
    entry = PreparedEntry(
        dataset=DATASET, modality="mri", classes=CLASSES, specialists={}, cases=tuple(cases)
    )
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=(entry,))
    write_text(store / INDEX_FILE, index.model_dump_json())


def with_share(preset: Preset, foreground_p: float, steps: int | None) -> Preset:
    """The preset with another share of crops on the heart, and another length."""
    training = preset.training
    sampling = training.sampling.model_copy(update={"foreground_p": foreground_p})
    changed = {"sampling": sampling, "steps": steps or training.steps}
    return preset.model_copy(update={"training": training.model_copy(update=changed)})


def compare(folder: Path, steps: int | None) -> list[dict[str, Any]]:
    """A row for each share: empty crops and windows, CPU seconds, and the means of `METRICS`."""
    preset = load_preset(PRESET)
    store = folder / "prepared"
    prepare(store, preset)
    rows = []
    for share in (1.0, preset.training.sampling.foreground_p):
        chosen, work = with_share(preset, share, steps), folder / f"{share}"
        (view,) = empty_views(run_groups(store, chosen), chosen, 0, store)
        done = train(work, store, chosen, 0)
        rows.append(
            {
                "foreground_p": share,
                "empty_crops": view.crops,
                "empty_windows": view.windows,
                "cpu_seconds": mapping_of(work / SPENT_FILE)["cpu_seconds"],
                **_means(done.checkpoint),
            }
        )
    return rows


def _means(checkpoint: Path) -> dict[str, float]:
    """Means over cases and classes of the test patients."""
    content = torch.load(checkpoint, weights_only=True)
    model = model_from(content, checkpoint).eval()
    rows = [model.book.keys.index(("mri", name)) for name in CLASSES]
    found = []
    for _, image, masks in hearts(TESTED):
        answer = segment(model, image, "mri", CLASSES, model.book.embeddings[rows]).segmentation
        for name in CLASSES:
            both = masks.mask(name), answer.mask(name)
            found.append(score(*both, spacing_mm=SPACING_MM, metrics=list(METRICS)))
    return {metric: float(np.nanmean([row[metric] for row in found])) for metric in METRICS}


def main(
    steps: int | None = typer.Option(None, "--steps", help="Instead of the preset's."),
    out: Path | None = Out,
) -> None:
    """Train twice, predict the same patients."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="satbench-bench-") as folder:
        rows = compare(Path(folder), steps)
    tell([" ".join(f"{k} {v:.3f}" for k, v in row.items()) for row in rows], rows, out)


if __name__ == "__main__":
    run(main)
