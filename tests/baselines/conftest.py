"""A tiny run with TotalSegmentator's layout: two specialists, a few blocks in noise."""

import csv
from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import CaseRecord, write_case
from evaluation.config import RunConfig, freeze
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation, pack_masks

ORGANS = ["spleen", "liver"]
MUSCLES = ["left iliopsoas", "right iliopsoas"]
PRESET = """
description: a few iterations
mode: planned
device: cpu
network: {width: 4, patch_cap: 16, batch_size: 2}
schedule:
  base: 24
  iterations_per_epoch: 4
  validation_iterations: 1
  optimiser: adamw
  learning_rate: 0.01
  mirroring: false
test_time_mirroring: false
"""


def make_case(folder: Path, case: str, seed: int) -> None:
    """One virtual patient: bright blocks of four classes in noise, 4 x 4 x 6 mm voxels."""
    rng = np.random.default_rng(seed)
    shape = (20, 18, 16)
    image = rng.normal(0, 20, shape)
    masks = {}
    for index, name in enumerate([*ORGANS, *MUSCLES]):
        mask = np.zeros(shape, dtype=bool)
        x, y, z = 1 + 5 * (index % 2) + rng.integers(2), 2 + 8 * (index // 2), rng.integers(2, 5)
        mask[x : x + 5, y : y + 6, z : z + 6] = True
        image[mask] += 100 * (index + 1)
        masks[name] = mask
    affine = np.diag([4.0, 4.0, 6.0, 1.0])
    reference: Segmentation = pack_masks(masks, affine, "annotated")
    record = CaseRecord(
        dataset="totalsegmentator",
        case=case,
        patient=case,
        modality="ct",
        shape=shape,
        spacing_mm=(4.0, 4.0, 6.0),
        source_orientation="RAS",
        n_layers=len(reference.layers),
        classes=dict(reference.classes),
    )
    write_case(folder, Volume(image.astype(np.float32), affine), reference, record)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with standardised cases, a split and a configuration, nothing prepared."""
    root = tmp_path_factory.mktemp("results") / "tiny"
    preset = root.parent / "tiny.yaml"
    preset.write_text(PRESET)
    config = RunConfig(
        name="tiny",
        study="sat",
        data_kind="real",
        raw_root=str(root),
        entries=["totalsegmentator"],
        classes={"totalsegmentator": [*ORGANS, *MUSCLES]},
        models=["nnunet"],
        presets={"nnunet": str(preset)},
    )
    paths = RunPaths(root)
    freeze(config, paths.config)
    rows = []
    for index in range(6):
        case = f"s{index:04d}"
        make_case(paths.case("totalsegmentator", case), case, index)
        rows.append([case, case, "train" if index < 4 else "test"])
    paths.split("totalsegmentator").parent.mkdir(parents=True)
    with paths.split("totalsegmentator").open("w", newline="") as stream:
        csv.writer(stream).writerows([["case", "patient", "split"], *rows])
    return root
