"""Stage 1 with a very small encoder, on one thread."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sat.knowledge.settings import KnowledgeSettings, load_settings


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_settings(tiny_bert: Path):
    def make(**changes: object) -> KnowledgeSettings:
        values = load_settings("quick").model_dump() | {
            "encoder": str(tiny_bert), "trainable": 1, "batch": 16, "steps": 9, "warm_up": 2,
            "learning_rate": 1e-3, "checkpoint_every": 3, "log_every": 1, "max_tokens": 24,
        }  # fmt: skip
        return KnowledgeSettings.model_validate(values | changes)

    return make
