"""The text encoder: offline, checked, and able to tell classes apart."""

import pytest
import torch

from evaluation.errors import BenchError
from sat.config import PromptSettings, load_preset
from sat.prompts.book import PromptProjection, write_prompt_book
from sat.text import encoder as text


def test_names_become_embeddings_that_differ():
    settings = load_preset("small").prompts
    keys = [
        ("ct", "left kidney"), ("ct", "right kidney"), ("mri", "left kidney"), ("ct", "liver"),
    ]  # fmt: skip
    book = write_prompt_book(settings, keys)
    assert book.embeddings.shape == (4, 384)
    similarity = book.embeddings @ book.embeddings.T
    assert float(similarity[0, 1]) == pytest.approx(0.873, abs=0.002)
    torch.testing.assert_close(book.embeddings[0], book.embeddings[2])
    assert float(similarity[0, 3]) < 0.6
    assert book.rows([("ct", "liver")]) == [3]
    with pytest.raises(BenchError, match="not trained"):
        book.rows([("ct", "spleen")])


def test_changed_weights_are_refused(monkeypatch):
    monkeypatch.setattr(text, "MINILM_SHA256", "0" * 64)
    with pytest.raises(BenchError, match="not the checked ones"):
        text.minilm_folder()


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(BenchError, match="no text encoder in this folder"):
        text.TextEncoder(tmp_path)


def test_lengths_of_embeddings_and_queries():
    torch.manual_seed(0)
    units = torch.nn.functional.normalize(torch.randn(5, 384), dim=-1)
    for embedding in ("scaled", "standardised", "unit"):
        settings = PromptSettings(embedding=embedding, query_length="sqrt", projection="mlp")
        projection = PromptProjection(settings, 384, 128)
        projection.fit(units)
        scaled = (units - projection.mean) / projection.deviation
        length = 1.0 if embedding == "unit" else 384**0.5
        assert scaled.norm(dim=-1).mean() == pytest.approx(length, rel=0.01)
        assert torch.allclose(projection(units).norm(dim=-1), torch.full((5,), 128**0.5))


def test_queries_straight_from_the_encoder_need_its_width():
    settings = PromptSettings(embedding="unit", query_length="unit", projection="none")
    with pytest.raises(BenchError, match="without a projection"):
        PromptProjection(settings, 384, 768)
