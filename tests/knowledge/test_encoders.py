"""Encoders as settings of a preset: knowledge, folders, class ids; and the commands of stage 1."""

import json

import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.training.checkpoints import save_content
from sat.config import PromptSettings, load_preset
from sat.knowledge.record import load_text_encoder, read_record
from sat.knowledge.train import train_text
from sat.model import SatModel, load_model
from sat.prompts.book import embed_prompts, write_prompt_book
from sat.prompts.choice import CLASS_ID_WIDTH, class_id_vectors, encoder_digest
from sat.segment.naming import embed, resolve
from sat.text.encoder import TextEncoder

KEYS = (("ct", "liver"), ("ct", "left kidney"), ("mri", "liver"))


def _settings(**changes) -> PromptSettings:
    return PromptSettings(embedding="unit", query_length="sqrt", **changes)


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory, tiny_bert):
    from sat.knowledge.settings import load_settings

    settings = load_settings("quick").model_copy(
        update={"encoder": str(tiny_bert), "trainable": "all", "batch": 16, "steps": 4}
    )
    folder = tmp_path_factory.mktemp("run") / "text"
    train_text(folder, settings, seed=0, progress=False)
    return folder


def test_class_ids_are_fixed_and_say_nothing_of_each_other():
    vectors = class_id_vectors(KEYS)
    assert vectors.shape == (3, CLASS_ID_WIDTH)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(3))
    cosines = vectors @ vectors.T
    assert float(cosines.fill_diagonal_(0).abs().max()) < 0.25
    assert torch.equal(class_id_vectors(KEYS[::-1]), vectors.flip(0))
    # The very numbers, so that a checkpoint and a later version agree.
    assert vectors[0, :3].tolist() == pytest.approx([0.057086, -0.070443, -0.012704], abs=1e-6)


def test_a_name_without_a_class_id_is_refused():
    settings = _settings(encoder="class-id")
    known = [("ct", "liver")]
    assert torch.equal(embed_prompts(settings, known, known=KEYS), class_id_vectors(known))
    with pytest.raises(BenchError, match="by number") as caught:
        embed_prompts(settings, [("ct", "hepar")], known=KEYS)
    assert "hepar" in str(caught.value)
    preset = load_preset("smoke").model_copy(update={"prompts": settings})
    model = SatModel(preset, write_prompt_book(settings, KEYS), {"x": ("liver",)})
    prompts, vectors = embed(model, "ct", resolve(model, "ct", ["Liver"]))
    assert torch.equal(vectors, class_id_vectors(known))
    assert prompts[0].origin == "trained"
    for name in ("hepatic organ", "spleen"):
        with pytest.raises(BenchError, match="by number"):
            embed(model, "ct", resolve(model, "ct", [name]))


def test_prompts_come_from_the_encoder_of_stage_1(text_folder, tiny_bert):
    named = _settings(encoder="knowledge", folder=str(text_folder))
    book = write_prompt_book(named, KEYS)
    expected = load_text_encoder(text_folder).embed(["liver", "left kidney", "liver"])
    assert torch.equal(book.embeddings, expected)
    assert not torch.allclose(expected, TextEncoder(tiny_bert).embed(["liver"] * 3), atol=1e-3)
    given = write_prompt_book(_settings(encoder="knowledge"), KEYS, text_folder)
    assert torch.equal(given.embeddings, expected)
    synonyms = embed_prompts(named, [("ct", "hepar"), ("ct", "kidney on the left")])
    assert torch.allclose(synonyms.norm(dim=-1), torch.ones(2))
    with pytest.raises(BenchError, match="another pooling"):
        write_prompt_book(named.model_copy(update={"pooling": "pooler"}), KEYS)
    with pytest.raises(BenchError, match="no text encoder with knowledge"):
        write_prompt_book(_settings(encoder="knowledge", folder=str(tiny_bert)), KEYS)
    with pytest.raises(BenchError, match="text encoder of your own"):
        write_prompt_book(_settings(encoder="knowledge"), KEYS)


def test_a_local_folder_is_an_encoder_too(tiny_bert):
    book = write_prompt_book(_settings(encoder="folder", folder=str(tiny_bert)), KEYS)
    # Not bit by bit: on some processors a text's last bits depend on its neighbours in the batch.
    torch.testing.assert_close(book.embeddings[:1], TextEncoder(tiny_bert).embed(["liver"]))
    # What a user gives does not overrule the preset's own folder.
    same = write_prompt_book(
        _settings(encoder="folder", folder=str(tiny_bert)), KEYS, tiny_bert / "x"
    )
    assert torch.equal(same.embeddings, book.embeddings)
    with pytest.raises(ValidationError, match="folder"):
        _settings(encoder="minilm", folder=str(tiny_bert))


def test_a_checkpoint_answers_synonyms_with_the_folder_of_its_run(tmp_path, text_folder):
    settings = _settings(encoder="knowledge")
    preset = load_preset("smoke").model_copy(update={"prompts": settings})
    model = SatModel(preset, write_prompt_book(settings, KEYS, text_folder), {"x": ("liver",)})
    save_content(tmp_path / "checkpoint.pt", model.content())
    loaded = load_model(tmp_path / "checkpoint.pt")
    asked = resolve(loaded, "ct", ["liver", "organ under the diaphragm"])
    with pytest.raises(BenchError, match="text encoder is not part of it"):
        embed(loaded, "ct", asked)
    prompts, vectors = embed(loaded, "ct", asked, text_folder)
    own = load_text_encoder(text_folder).embed(["organ under the diaphragm"])
    assert torch.allclose(vectors[1:], own, atol=1e-6)
    assert prompts[1].nearest
    first = model.book.embeddings[:1].clone()
    loaded.book.embeddings[:1] = -first
    with pytest.raises(BenchError, match="not the text encoder that the checkpoint"):
        embed(loaded, "ct", asked, text_folder)


def test_another_text_encoder_is_another_training(tmp_path, text_folder):
    settings = _settings(encoder="knowledge")
    work = text_folder.parent
    digest = encoder_digest(settings, work)
    assert len(digest) == 64
    assert (
        encoder_digest(_settings(encoder="knowledge", folder=str(text_folder)), tmp_path) == digest
    )
    assert encoder_digest(_settings(), work) == encoder_digest(_settings(encoder="class-id"), work)
    weights = text_folder / "model.safetensors"
    other = tmp_path / "text"
    other.mkdir()
    (other / "model.safetensors").write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert encoder_digest(settings, tmp_path) != digest


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(build(), ["sat", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def _knowledge(*arguments: str) -> str:
    return _run("knowledge", *arguments)


def test_commands_train_and_compare(tmp_path, tiny_bert):
    out = tmp_path / "text"
    common = ("--encoder", str(tiny_bert), "--batch", "8", "--steps", "2")
    shown = _run(
        "knowledge", "train", "--out", str(out), *common, "--trainable", "head", "--loss", "eq4"
    )
    assert "2 steps" in shown
    assert "held-out definitions R@1 (n = 678), %" in shown
    found = json.loads((out / "retrieval.json").read_text())
    assert found["before"]["classes"]["n"] == found["after"]["classes"]["n"] == 341
    record = read_record(out)
    assert (record.settings.loss, record.settings.trainable) == ("eq4", "head")
    assert record.settings.batch == 8
    again = tmp_path / "again.json"
    compared = _run("retrieval", "--encoder", str(out), "--held-out", "0", "--out", str(again))
    assert "held-out" not in compared
    assert set(compared.splitlines()[4:-1]) < set(shown.splitlines())
    assert json.loads(again.read_text())["after"]["classes"] == found["after"]["classes"]
    with pytest.raises(BenchError, match="trainable"):
        _knowledge("train", "--out", str(out), "--trainable", "most")


def test_commands_show_sources_and_questions(tmp_path):
    shown = _knowledge("train", "--dry-run")
    assert "5,558 definitions, 14,906 triplets" in shown
    assert "class names with a definition: 341 of 341" in shown
    assert "{definition}" in _knowledge("template")
    assert _knowledge("template", "--concept", "liver", "--definition", "A gland.").endswith(
        "A gland.\n"
    )
    table = tmp_path / "definitions.csv"
    table.write_text("concept_id,concept,definition\nX1,liver,A gland.\nX2,spleen,An organ.\n")
    rows = [
        json.loads(line)
        for line in _knowledge("template", "--definitions", str(table)).splitlines()
    ]
    assert [row["concept_id"] for row in rows] == ["X1", "X2"]
    assert "Definition: An organ." in rows[1]["prompt"]
    with pytest.raises(BenchError, match="both"):
        _knowledge("template", "--concept", "liver")
