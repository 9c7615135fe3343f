"""A toy world for SAT-Nano: small volumes with a bright ball left and a brighter one right."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

# The small volumes are those of the engine's own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from toy_world import toy_scan, write_store

from evaluation.training.train import Trained
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation
from sat.config import Preset, load_preset
from sat.model import SatModel
from sat.prompts.book import PromptBook
from sat.train import train


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


def train_toy(work: Path, preset: Preset, seed: int, **options: object) -> Trained:
    return train(work, work / "prepared", preset, seed, progress=False, **options)


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
    train: Callable[..., Trained]


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy(toy_preset, toy_scan, write_store, train_toy)
