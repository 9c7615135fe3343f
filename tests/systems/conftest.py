"""A tiny run of two entries with blocks in noise: hippocampus (MR, two parts) and spleen (CT)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.universal.config import Preset, load_preset
from evaluation.cases import CaseRecord, write_case
from evaluation.classes.modality import Modality
from evaluation.config import RunConfig, freeze
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation, pack_masks, union_place

PARTS = ("anterior hippocampus", "posterior hippocampus")
ENTRIES: dict[str, tuple[Modality, tuple[str, ...]]] = {
    "msd_hippocampus": ("mri", PARTS),
    "msd_spleen": ("ct", ("spleen",)),
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_preset(system: str = "multi-decoder", **training: object) -> Preset:
    """Small networks with patches as small as five resolutions allow."""
    values = load_preset("smoke").of(system).model_dump()
    values["grid"] |= {"spacing_mm": (2.0, 2.0, 2.0)}
    sampling = values["training"]["sampling"] | dict(training.pop("sampling", {}))
    values["training"] |= {"checkpoint_every": 3, **training, "sampling": sampling}
    values["training"]["patch"] = values["inference"]["patch"] = (32, 16, 16)
    values["inference"]["overlap"] = 0.5
    return Preset.model_validate(values)


@pytest.fixture(scope="session")
def preset() -> Callable[..., Preset]:
    return tiny_preset


def make_case(folder: Path, dataset: str, case: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    modality, names = ENTRIES[dataset]
    # Not the spacing of the network's grid, and not the same for every case.
    shape, spacing = (22, 18, 12), (1.6 + 0.1 * (seed % 3), 2.0, 3.0)
    image = rng.normal(0, 15, shape)
    masks = {}
    for index, name in enumerate(names):
        mask = np.zeros(shape, dtype=bool)
        x, y, z = 2 + 10 * index + rng.integers(2), 4 + rng.integers(4), 3 + rng.integers(2)
        mask[x : x + 7, y : y + 7, z : z + 5] = True
        image[mask] += 100 * (index + 1)
        masks[name] = mask
    affine = np.diag([*spacing, 1.0])
    packed = pack_masks(masks, affine, "annotated")
    classes = dict(packed.classes)
    if len(names) > 1:
        classes["hippocampus"] = union_place(packed.classes.values(), "generated")
    reference = Segmentation(packed.layers, affine, classes)
    record = CaseRecord(
        dataset=dataset,
        case=case,
        patient=case,
        modality=modality,
        shape=shape,
        spacing_mm=spacing,
        source_orientation="RAS",
        n_layers=len(reference.layers),
        classes=classes,
    )
    write_case(folder, Volume(image.astype(np.float32), affine), reference, record)


@pytest.fixture
def tiny_run(tmp_path: Path) -> Path:
    """A run's folder with standardised cases, splits and a configuration, nothing prepared."""
    root = tmp_path / "results" / "tiny"
    config = RunConfig(
        name="tiny",
        study="sat",
        data_kind="real",
        raw_root=str(root),
        entries=list(ENTRIES),
        models=["multi-decoder"],
    )
    paths = RunPaths(root)
    freeze(config, paths.config)
    for dataset in ENTRIES:
        rows = []
        for index in range(5):
            case = f"{dataset}_{index:02d}"
            make_case(paths.case(dataset, case), dataset, case, index)
            rows.append([case, case, "train" if index < 4 else "test"])
        paths.split(dataset).parent.mkdir(parents=True, exist_ok=True)
        with paths.split(dataset).open("w", newline="") as stream:
            csv.writer(stream).writerows([["case", "patient", "split"], *rows])
    return root
