"""The engine on a toy world, without any of the networks that it serves."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

# Also read by the processes that some tests start.
sys.path.insert(0, str(Path(__file__).parent))

from toy_world import ToyPreset, toy_preset, toy_scan, train_toy, write_store

from evaluation.training.train import Trained
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import Segmentation


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Toy:
    preset: Callable[..., ToyPreset]
    scan: Callable[..., tuple[Volume, Segmentation]]
    store: Callable[..., None]
    train: Callable[..., Trained]


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy(toy_preset, toy_scan, write_store, train_toy)
