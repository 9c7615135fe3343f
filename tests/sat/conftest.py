"""A toy world for SAT-Nano: small volumes with a bright ball left and a brighter one right."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.files.writing import write_text
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from sat.config import Preset, load_preset
from sat.model import SatModel
from sat.text.prompts import PromptBook
from sat.training.prepare import FORMAT, prepare_case
from sat.training.store import PreparedEntry, PreparedIndex

CLASSES = {
    "left ball": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1,)),)),
    "right ball": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(2,)),)),
    "ball": ClassPlace(kind="generated", parts=(Part(layer=0, values=(1, 2)),)),
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_preset(**training: object) -> Preset:
    values = load_preset("tiny").model_dump()
    values["name"] = "toy"
    values["network"] |= {
        "widths": (8, 16, 24), "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        "query_width": 24, "heads": 2, "mlp_width": 48, "mask_hidden": 32, "pixel_width": 16,
    }  # fmt: skip
    values["grid"]["spacing_mm"] = (2.0, 2.0, 3.0)
    values["training"] |= {
        "steps": 12, "patch": (16, 16, 8), "warm_up": 4, "checkpoint_every": 4, "log_every": 1,
        **training,
    }  # fmt: skip
    values["inference"] |= {"patch": (16, 16, 8)}
    return Preset.model_validate(values)


def toy_scan(seed: int, shape: tuple[int, int, int] = (40, 36, 14)) -> tuple[Volume, Segmentation]:
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.uint8)
    at = np.stack(np.indices(shape), axis=-1) * (1.0, 1.0, 2.0)
    for value, x in ((1, 10), (2, 28)):
        centre = np.array([x, 18, 14]) + random.uniform(-3, 3, 3)
        labels[np.linalg.norm(at - centre, axis=-1) < 7] = value
    image = 40 + random.normal(0, 8, shape) + 60 * (labels == 1) + 120 * (labels == 2)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return Volume(image.astype(np.float32), affine), Segmentation((labels,), affine, CLASSES)


def write_store(work: Path, preset: Preset, n_cases: int = 3) -> None:
    names = [f"case{i}" for i in range(n_cases)]
    for seed, name in enumerate(names):
        image, reference = toy_scan(seed)
        folder = work / "prepared" / "toy" / name
        prepare_case(folder, "toy", name, "mri", image, reference, preset.grid)
    entry = PreparedEntry(
        dataset="toy", modality="mri", classes=tuple(CLASSES), specialists={}, cases=tuple(names)
    )
    index = PreparedIndex(format=FORMAT, grid=preset.grid, entries=(entry,))
    write_text(work / "prepared" / "index.json", index.model_dump_json())


@pytest.fixture
def toy_model() -> SatModel:
    torch.manual_seed(0)
    keys = tuple(("mri", f"class {i}") for i in range(7))
    book = PromptBook(keys, torch.nn.functional.normalize(torch.randn(7, 12), dim=-1))
    return SatModel(toy_preset(), book, {"toy": tuple(n for _, n in keys)}).eval()


@dataclass(frozen=True)
class Toy:
    preset: Callable[..., Preset]
    scan: Callable[..., tuple[Volume, Segmentation]]
    store: Callable[..., None]


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy(toy_preset, toy_scan, write_store)
