"""A very small BERT with random weights, whose words are the open set's most frequent ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from sat.knowledge.open_set import open_set
from sat.knowledge.settings import KnowledgeSettings, load_settings

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("tiny-bert")
    texts = [f"{p.name} {p.definition}" for p in open_set().pairs]
    texts += [" ".join(t) for t in open_set().triplets]
    counts = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    words = [*SPECIAL, *(word for word, _ in counts.most_common(3000))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=256,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_settings(tiny_bert: Path):
    def make(**changes: object) -> KnowledgeSettings:
        values = load_settings("quick").model_dump() | {
            "encoder": str(tiny_bert), "trainable": 1, "batch": 16, "steps": 9, "warm_up": 2,
            "learning_rate": 1e-3, "checkpoint_every": 3, "log_every": 1, "max_tokens": 24,
        }  # fmt: skip
        return KnowledgeSettings.model_validate(values | changes)

    return make
