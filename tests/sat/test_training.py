"""SAT-Nano in the training engine: it learns, resumes exactly, and knows its prompts."""

import csv
from pathlib import Path

import pytest
import torch

from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint
from sat.config import load_preset
from sat.model import load_model
from sat.predict import segment
from sat.prompts.choice import class_id_vectors
from sat.train import train


def _weights(path: Path) -> dict[str, torch.Tensor]:
    content = read_checkpoint(path)
    return {**content["network"], **content["projection"]}


def test_a_resumed_training_equals_an_undisturbed_one_bit_by_bit(tmp_path, toy):
    preset = toy.preset()
    for name in ("whole", "parts"):
        toy.store(tmp_path / name, preset)
    toy.train(tmp_path / "whole", preset, seed=3)
    for stop in (5, 4, None):
        toy.train(tmp_path / "parts", preset, seed=3, stop_after=stop)
    whole = _weights(tmp_path / "whole/checkpoint.pt")
    parts = _weights(tmp_path / "parts/checkpoint.pt")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    logs = []
    for name in ("whole", "parts"):
        with (tmp_path / name / "metrics.csv").open() as stream:
            rows = [(r["step"], r["loss"], r["gradient_norm"]) for r in csv.DictReader(stream)]
        logs.append(rows)
    assert logs[0] == logs[1]
    assert [int(row[0]) for row in logs[0]] == list(range(12))
    assert (tmp_path / "whole/loss.png").stat().st_size > 1000


def test_prompts_by_class_id_or_knowledge_of_the_run(tmp_path, toy):
    values = toy.preset(steps=2).model_dump()
    values["prompts"] |= {"encoder": "class-id"}
    preset = type(toy.preset()).model_validate(values)
    assert not preset.prompts.trains_text
    toy.store(tmp_path, preset)
    toy.train(tmp_path, preset, seed=0)
    book = load_model(tmp_path / "checkpoint.pt").book
    assert torch.equal(book.embeddings, class_id_vectors(book.keys))
    values["prompts"] |= {"encoder": "knowledge"}
    preset = type(preset).model_validate(values)
    assert preset.prompts.trains_text
    with pytest.raises(BenchError, match="no text encoder with knowledge") as caught:
        toy.train(tmp_path, preset, seed=0)
    assert str(tmp_path / "text") in str(caught.value)


def test_it_learns_a_toy_problem(tmp_path, toy):
    preset = toy.preset(steps=150, learning_rate=5e-3, checkpoint_every=50, log_every=10)
    toy.store(tmp_path, preset, n_cases=4)
    toy.train(tmp_path, preset, seed=0)
    model = load_model(tmp_path / "checkpoint.pt")
    image, reference = toy.scan(99)
    names = [name for _, name in model.book.keys]
    answer = segment(model, image, "mri", names, model.book.embeddings).segmentation
    for name in names:
        truth, mask = reference.mask(name), answer.mask(name)
        dice = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
        assert dice > 0.75, (name, dice)
    with (tmp_path / "metrics.csv").open() as stream:
        assert float(list(csv.DictReader(stream))[-1]["prompt_separation"]) > 0.3


def test_a_gpu_preset_stops_at_once_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="torch sees none"):
        train(
            tmp_path / "not-even-there",
            tmp_path / "not-even-there" / "prepared",
            load_preset("nano"),
            seed=0,
        )
