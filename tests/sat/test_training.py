"""Training: it learns, resumes exactly, refuses what cannot work."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.errors import BenchError
from evaluation.files.writing import sha256, write_text
from evaluation.spent import read_spent
from sat.config import Augmentation, Loss, load_preset
from sat.inference.predict import segment
from sat.model import load_model
from sat.text.choice import class_id_vectors
from sat.training.data import CropDataset
from sat.training.distributed import check_device
from sat.training.groups import training_groups
from sat.training.losses import prompt_separation, segmentation_loss
from sat.training.schedule import learning_rate
from sat.training.store import read_index, read_record
from sat.training.train import train
from sat.weights import read_checkpoint


def _weights(path: Path) -> dict[str, torch.Tensor]:
    content = read_checkpoint(path)
    return {**content["network"], **content["projection"]}


def test_a_resumed_training_equals_an_undisturbed_one_bit_by_bit(tmp_path, toy):
    preset = toy.preset()
    for name in ("whole", "parts"):
        toy.store(tmp_path / name, preset)
    train(tmp_path / "whole", preset, seed=3, progress=False)
    for stop in (5, 4, None):
        train(tmp_path / "parts", preset, seed=3, stop_after=stop, progress=False)
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


_KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from sat.config import Preset
from sat.training.train import train
train(Path({work!r}), Preset.model_validate_json({preset!r}), 3, progress=False)
"""


def test_the_time_of_a_training_is_that_of_all_its_parts(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    spent = tmp_path / "spent.json"
    first = train(tmp_path, preset, seed=3, stop_after=5, progress=False)
    record = read_spent(spent)
    assert (record.steps, record.device) == (5, "CPU")
    assert 0 < record.seconds <= first.seconds
    # As if the first part had been long and large.
    longer = record.model_copy(update={"seconds": 1000.0, "peak_memory_mib": 1e6})
    write_text(spent, longer.model_dump_json())
    second = train(tmp_path, preset, seed=3, progress=False)
    whole = read_spent(spent)
    assert 1000 < whole.seconds <= 1000 + second.seconds
    assert (whole.steps, whole.peak_memory_mib, whole.started) == (12, 1e6, record.started)
    checkpoint = sha256(tmp_path / "checkpoint.pt")
    assert train(tmp_path, preset, seed=3, progress=False).steps_now == 0
    assert read_spent(spent) == whole, "nothing was done"
    assert sha256(tmp_path / "checkpoint.pt") == checkpoint, "no time is in the checkpoint"
    train(tmp_path, preset, seed=4, progress=False)
    assert read_spent(spent).seconds < 1000, "another training"


def test_a_killed_training_goes_on_exactly(tmp_path, toy):
    preset = toy.preset(steps=14, checkpoint_every=3)
    for name in ("whole", "killed"):
        toy.store(tmp_path / name, preset)
    train(tmp_path / "whole", preset, seed=3, progress=False)
    work = tmp_path / "killed"
    code = _KILLED.format(work=str(work), preset=preset.model_dump_json())
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 300
    while not (work / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (work / "last.pt").is_file()
    before = read_spent(work / "spent.json").seconds
    train(work, preset, seed=3, progress=False)
    whole, killed = _weights(tmp_path / "whole/checkpoint.pt"), _weights(work / "checkpoint.pt")
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    assert read_spent(work / "spent.json").seconds > before > 0


def test_other_settings_start_afresh(tmp_path, caplog, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    train(tmp_path, preset, seed=1, stop_after=4, progress=False)
    done = train(tmp_path, preset, seed=2, progress=False)
    assert done.steps_now == 12
    assert "other data or settings" in caplog.text


def test_a_resume_with_another_arrangement_trains_the_same_samples(tmp_path, toy, monkeypatch):
    drawn: list[tuple[int, int]] = []
    sample = CropDataset.sample
    monkeypatch.setattr(
        CropDataset, "sample", lambda self, *key: drawn.append(key) or sample(self, *key)
    )
    network = {**toy.preset().network.model_dump(), "dropout": 0.0}

    def arranged(**training):
        values = toy.preset(steps=5, validation={"part": 0.3, "every": 2}, **training)
        return type(values).model_validate({**values.model_dump(), "network": network})

    two, ones = arranged(batch=2), arranged(batch=1, accumulate=2, checkpoint_every=1)
    found = {}
    for name, presets in (("whole", [ones]), ("down", [two, ones]), ("up", [ones, two])):
        work = tmp_path / name
        toy.store(work, two)
        drawn.clear()
        for preset, stop in zip(presets, (3, None)[-len(presets) :], strict=True):
            done = train(work, preset, seed=3, stop_after=stop, progress=False)
        with (work / "metrics.csv").open() as stream:
            losses = [float(row["loss"]) for row in csv.DictReader(stream)]
        found[name] = (list(drawn), losses, done.steps_now)
        assert load_model(work / "checkpoint.pt").preset == presets[-1]
    samples, losses, _ = found["whole"]
    assert samples == [(step, number) for step in range(5) for number in range(2)]
    for name in ("down", "up"):
        assert found[name][0] == samples
        assert found[name][1] == pytest.approx(losses, rel=1e-4)
        assert found[name][2] == 2


def test_prompts_by_class_id_or_knowledge_of_the_run(tmp_path, toy):
    values = toy.preset(steps=2).model_dump()
    values["prompts"] |= {"encoder": "class-id"}
    preset = type(toy.preset()).model_validate(values)
    assert not preset.prompts.trains_text
    toy.store(tmp_path, preset)
    train(tmp_path, preset, seed=0, progress=False)
    book = load_model(tmp_path / "checkpoint.pt").book
    assert torch.equal(book.embeddings, class_id_vectors(book.keys))
    values["prompts"] |= {"encoder": "knowledge"}
    preset = type(preset).model_validate(values)
    assert preset.prompts.trains_text
    with pytest.raises(BenchError, match="no text encoder with knowledge") as caught:
        train(tmp_path, preset, seed=0, progress=False)
    assert str(tmp_path / "text") in str(caught.value)


def test_it_learns_a_toy_problem(tmp_path, toy):
    preset = toy.preset(steps=150, learning_rate=5e-3, checkpoint_every=50, log_every=10)
    toy.store(tmp_path, preset, n_cases=4)
    train(tmp_path, preset, seed=0, progress=False)
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
        train(tmp_path / "not-even-there", load_preset("nano"), seed=0)
    assert check_device(load_preset("tiny").training).type == "cpu"


def test_training_without_prepared_data_is_refused(tmp_path, toy):
    with pytest.raises(BenchError, match="satbench train"):
        train(tmp_path, toy.preset(), seed=0)


def test_learning_rate_warms_up_and_ends_at_zero(toy):
    training = toy.preset(steps=100, warm_up=10, learning_rate=1.0).training
    assert learning_rate(0, training) == pytest.approx(0.1)
    assert learning_rate(10, training) == pytest.approx(1.0)
    assert learning_rate(55, training) == pytest.approx(0.5)
    assert learning_rate(100, training) == pytest.approx(0.0)


def test_a_batch_depends_on_its_number_alone(tmp_path, toy):
    preset = toy.preset(
        augmentation=Augmentation(
            zoom_p=1.0, zoom=(0.8, 1.2), rotation_p=1.0, rotation_degrees=20, noise_p=1.0
        ).model_dump()
    )
    toy.store(tmp_path, preset)
    store = tmp_path / "prepared"
    groups = training_groups(store, read_index(store), preset)
    rows = {("mri", name): i for i, name in enumerate(groups[0].classes)}
    first = CropDataset(store, groups, rows, preset, seed=5)
    second = CropDataset(store, groups, rows, preset, seed=5)
    first[0], first[1]
    (a,), (b,) = first[7], second[7]
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.targets, b.targets)
    assert a.image.shape == (2, 1, 16, 16, 8)
    assert a.targets.shape == (2, 3, 16, 16, 8)
    assert not torch.equal(a.image, second[8][0].image)
    # The union is the two balls, after every move of image and labels.
    by_name = dict(zip(groups[0].classes, a.targets[0], strict=True))
    assert torch.equal(by_name["ball"], by_name["left ball"] | by_name["right ball"])


def test_prepared_case(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset, n_cases=1)
    folder = tmp_path / "prepared/toy/case0"
    record = read_record(folder)
    assert record is not None
    image = np.load(folder / "image.npy", mmap_mode="r")
    layers = np.load(folder / "layers.npy", mmap_mode="r")
    points = np.load(folder / "points.npy")
    assert image.dtype == np.float16
    assert image.shape == record.shape == layers.shape[1:] == (21, 19, 10)
    assert abs(float(image.astype(np.float64).mean())) < 0.01
    for name, place in record.points.items():
        rows = points[place.start : place.start + place.count]
        values = set(layers[0][tuple(rows.T.astype(int))].tolist())
        assert values == set(record.classes[name].parts[0].values)


def test_loss_of_known_values():
    logits = torch.zeros(1, 2, 1, 1, 4)
    targets = torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0]).view(1, 2, 1, 1, 4)
    valid = torch.ones(1, 2, dtype=torch.bool)
    present = segmentation_loss(logits, targets, valid, Loss(smooth=0.0))
    # p = 1/2 everywhere: overlap 1, squares 4/4 + 2, so Dice 2/3.
    assert float(present.cross_entropy) == pytest.approx(np.log(2))
    assert float(present.dice) == pytest.approx(1 / 3)
    every = segmentation_loss(logits, targets, valid, Loss(smooth=0.0, dice_over="all"))
    assert float(every.dice) == pytest.approx((1 / 3 + 1) / 2)
    pooled = segmentation_loss(
        logits, targets, valid, Loss(smooth=0.0, dice_over="all", dice="pooled")
    )
    assert float(pooled.dice) == pytest.approx(1 - 2 / 4)
    valid[0, 0] = False
    nothing = segmentation_loss(logits, targets, valid, Loss())
    assert float(nothing.dice) == 0.0


def test_a_sample_counts_the_same_whatever_it_is_stacked_with():
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 4, 4, 4), (torch.rand(2, 3, 4, 4, 4) > 0.6).float()
    # Three prompts are valid in the first sample and one in the second.
    valid = torch.tensor([[True, True, True], [False, True, False]])
    for settings in (Loss(), Loss(dice_over="all"), Loss(dice="pooled")):
        both = segmentation_loss(logits, targets, valid, settings)
        alone = [
            segmentation_loss(logits[i : i + 1], targets[i : i + 1], valid[i : i + 1], settings)
            for i in (0, 1)
        ]
        for name in ("total", "cross_entropy", "dice"):
            mean = (float(getattr(alone[0], name)) + float(getattr(alone[1], name))) / 2
            assert float(getattr(both, name)) == pytest.approx(mean, abs=1e-6)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    prompts = [
        float(entropy(logits[i, p], targets[i, p].float())) for i in (0, 1) for p in range(3)
    ]
    expected = (sum(prompts[:3]) / 3 + prompts[4]) / 2
    found = segmentation_loss(logits, targets, valid, Loss())
    assert float(found.cross_entropy) == pytest.approx(expected, abs=1e-6)


def test_prompt_separation_sees_identical_answers():
    same = torch.randn(2, 1, 4, 4, 4).expand(2, 3, 4, 4, 4)
    assert prompt_separation(same) == 0.0
    assert prompt_separation(torch.randn(2, 3, 8, 8, 8)) > 1.0
