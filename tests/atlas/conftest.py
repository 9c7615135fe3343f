"""Two toy entries with overlapping class names, prepared for stage 2."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.files.writing import write_text
from evaluation.training.prepared_case import prepare_case
from evaluation.training.store import FORMAT, PreparedEntry, PreparedIndex
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from sat.config import Preset, load_preset
from sat.prompts.book import PromptBook

ENTRIES = {
    "toy_ct": ("ct", {"left kidney": 1, "right kidney": 2, "liver": 3}),
    "toy_mri": ("mri", {"liver": 3, "prostate": 5}),
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_preset(training: dict | None = None, **atlas: object) -> Preset:
    values = load_preset("tiny").model_dump()
    values["network"] |= {
        "widths": (8, 16, 24), "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 1)),
        "query_width": 24, "heads": 2, "mlp_width": 48, "mask_hidden": 32, "pixel_width": 16,
    }  # fmt: skip
    values["grid"]["spacing_mm"] = (2.0, 2.0, 3.0)
    values["training"] |= {
        "steps": 4, "patch": (16, 16, 8), "warm_up": 1, "checkpoint_every": 2, "log_every": 1,
        **(training or {}),
    }  # fmt: skip
    values["inference"] |= {"patch": (16, 16, 8)}
    values["atlas"] = {
        "steps": 8, "width": 16, "learning_rate": 3e-3, "checkpoint_every": 2, "log_every": 1,
        "batches_per_step": 2, "validation_part": 0, "validation_batches": 6, **atlas,
    }  # fmt: skip
    return Preset.model_validate(values)


def _scan(seed: int, classes: dict[str, int]) -> tuple[Volume, Segmentation]:
    """Balls of rising brightness, each at its own place."""
    random = np.random.default_rng(seed)
    shape = (40, 36, 14)
    labels = np.zeros(shape, dtype=np.uint8)
    at = np.stack(np.indices(shape), axis=-1) * (1.0, 1.0, 2.0)
    image = 40 + random.normal(0, 6, shape)
    for value, x in zip(classes.values(), (8, 20, 32), strict=False):
        centre = np.array([x, 18, 14]) + random.uniform(-2, 2, 3)
        labels[np.linalg.norm(at - centre, axis=-1) < 5] = value
        image += 70 * value * (labels == value)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    places = {
        name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=(value,)),))
        for name, value in classes.items()
    }
    return Volume(image.astype(np.float32), affine), Segmentation((labels,), affine, places)


def write_store(work: Path, preset: Preset, n_cases: int = 3) -> None:
    entries = []
    for dataset, (modality, classes) in ENTRIES.items():
        cases = [f"{dataset}{i}" for i in range(n_cases)]
        for seed, case in enumerate(cases):
            image, reference = _scan(seed, classes)
            folder = work / "prepared" / dataset / case
            prepare_case(folder, dataset, case, modality, image, reference, preset.grid)
        entries.append(
            PreparedEntry(
                dataset=dataset, modality=modality, classes=tuple(classes), specialists={},
                cases=tuple(cases),
            )
        )  # fmt: skip
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=tuple(entries))
    write_text(work / "prepared" / "index.json", index.model_dump_json())


KEYS = tuple(sorted((m, name) for m, classes in ENTRIES.values() for name in classes))


def toy_book() -> PromptBook:
    """Embeddings as a text encoder would give them, one text for both livers."""
    names = sorted({name for _, name in KEYS})
    vectors = torch.randn(len(names), 12, generator=torch.Generator().manual_seed(0))
    return PromptBook(KEYS, torch.stack([vectors[names.index(name)] for _, name in KEYS]))


@dataclass(frozen=True)
class Toy:
    preset: Callable[..., Preset]
    store: Callable[..., None]
    book: Callable[[], PromptBook]


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy(toy_preset, write_store, toy_book)
