"""Scans for the audit's tests: random anatomy with structures of all sizes, and small runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from evaluation.cases import CaseRecord, write_case
from evaluation.volumes.image_files import Array, Volume
from evaluation.volumes.segmentation import pack_masks


def draw(seed: int, shape: tuple[int, int, int] = (60, 56, 40), mm: float = 1.6) -> Volume:
    """Smooth random structures of several sizes with a little noise, as int16."""
    rng = np.random.default_rng(seed)
    array = np.zeros(shape)
    for width, height in ((1.6, 120.0), (3.0, 200.0), (6.0, 300.0)):
        field = ndimage.gaussian_filter(rng.normal(size=shape), width)
        array += height * field / field.std()
    array += rng.normal(0, 6, shape)
    return Volume(array.astype(np.int16), np.diag([mm, mm, mm * 1.25, 1.0]))


class SmallRun:
    """A run folder with standardised cases and splits, nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rows: dict[str, list[str]] = {}

    def add(self, dataset: str, case: str, patient: str, split: str, volume: Volume) -> None:
        """Write one case."""
        array: Array = np.asfortranarray(volume.array)
        image = Volume(array, volume.affine)
        empty = np.zeros(array.shape, dtype=bool)
        segmentation = pack_masks({"spleen": empty}, image.affine, "annotated")
        x, y, z = array.shape
        record = CaseRecord(
            dataset=dataset,
            case=case,
            patient=patient,
            modality="ct",
            shape=(x, y, z),
            spacing_mm=image.spacing_mm,
            source_orientation="RAS",
            n_layers=1,
            classes=dict(segmentation.classes),
            source_sha256={"image": str(int(np.abs(array).sum()))},
        )
        write_case(self.root / "cases" / dataset / case, image, segmentation, record)
        self._rows.setdefault(dataset, ["case,patient,split"]).append(f"{case},{patient},{split}")
        path = self.root / "splits" / f"{dataset}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(self._rows[dataset]) + "\n")


@pytest.fixture
def small_run(tmp_path: Path) -> SmallRun:
    return SmallRun(tmp_path / "run")


@pytest.fixture
def tissue() -> Callable[..., Volume]:
    return draw
