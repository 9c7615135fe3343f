"""Retrieval and confusion: against a naive count, at the limits, and on the packaged encoder."""

import pytest
import torch

from sat.knowledge.retrieval import confusion, examine, recall, table
from sat.knowledge.sources import held_out
from sat.text import TextEncoder, minilm_folder


def test_recall_equals_a_naive_count():
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(40, 6, generator=generator), dim=-1)
    texts = torch.nn.functional.normalize(
        queries + 0.5 * torch.randn(40, 6, generator=generator), dim=-1
    )
    texts[7] = texts[3]
    meanings = [str(i) if i != 7 else "3" for i in range(40)]
    found = recall(queries, texts, meanings)
    for k in (1, 5, 10):
        hits = 0
        for i, query in enumerate(queries):
            order = sorted(range(40), key=lambda j: -float(query @ texts[j]))
            wrong = [j for j in order if meanings[j] != meanings[i]][:k]
            right = max(float(query @ texts[j]) for j in order if meanings[j] == meanings[i])
            hits += right > float(query @ texts[wrong[-1]])
        assert found[f"r{k}"] == pytest.approx(hits / 40)
    assert 0 < found["r1"] < found["r5"] < 1


def test_one_vector_for_everything_finds_nothing():
    same = torch.ones(20, 3)
    assert recall(same, same, [str(i) for i in range(20)])["r10"] == 0
    assert recall(same, same, ["x"] * 20)["r1"] == 1


def test_confusions_of_made_up_vectors():
    vectors = {
        "left rib 1": (1.0, 0.0, 0.0), "left rib 2": (0.6, 0.8, 0.0), "left rib 3": (0.0, 1.0, 0.0),
        "right rib 1": (1.0, 0.0, 0.1), "liver": (0.0, 0.0, 1.0),
    }  # fmt: skip
    found = confusion(lambda texts: torch.tensor([vectors[t] for t in texts]), list(vectors))
    assert found["sides"]["n"] == 1
    assert found["sides"]["mean"] == pytest.approx(1 / 1.01**0.5)
    assert found["sides"]["nearest_is_other_side"] == 2
    assert found["neighbours"]["left ribs"] == pytest.approx({"n": 2, "mean": 0.7, "max": 0.8})
    assert found["above"] == 1


def test_the_packaged_encoder_gives_the_known_figures():
    names = [
        "left kidney", "right kidney", "kidney", "kidney tumor", "left rib 1", "right rib 1",
        "left rib 2", "lumbar vertebrae 1 (l1)", "lumbar vertebrae 2 (l2)",
    ]  # fmt: skip
    found = confusion(TextEncoder(minilm_folder()).embed, names)
    assert found["sides"]["n"] == 2
    assert found["sides"]["mean"] == pytest.approx((0.873 + 0.951) / 2, abs=0.001)
    assert found["neighbours"]["left ribs"]["mean"] == pytest.approx(0.953, abs=0.001)
    expected = {
        "L1 and L2": 0.900,
        "left and right kidney": 0.873,
        "kidney and kidney tumor": 0.656,
    }
    assert found["followed"] == pytest.approx(expected, abs=0.001)


def test_the_table_has_a_column_for_each_encoder(tiny_bert):
    found = examine(TextEncoder(tiny_bert).embed, held_out(0.02))
    text = table({"before": found, "after": found})
    assert "held-out definitions R@1 (n = 90), %" in text
    assert f"{100 * found['classes']['r5']:.1f}" in text
    assert "neighbours: vertebrae" in text
