"""Training: it resumes exactly, counts its time, starts anew where it must, and is validated."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_world import ToyPreset, restore

from evaluation.errors import BenchError
from evaluation.files.writing import sha256, write_text
from evaluation.spent import read_spent
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.crops import CropDataset
from evaluation.training.optimisers import moving_average, new_optimiser, rate_at
from evaluation.training.predict import segment_labels, segment_masks
from evaluation.training.processes import check_device

_KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
from toy_world import ToyPreset, train_toy
train_toy(Path({work!r}), ToyPreset.model_validate_json({preset!r}), 3)
"""


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["network"]


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


def test_the_time_of_a_training_is_that_of_all_its_parts(tmp_path, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    spent = tmp_path / "spent.json"
    first = toy.train(tmp_path, preset, seed=3, stop_after=5)
    record = read_spent(spent)
    assert (record.steps, record.device) == (5, "CPU")
    assert 0 < record.seconds <= first.seconds
    # As if the first part had been long and large.
    longer = record.model_copy(update={"seconds": 1000.0, "peak_memory_mib": 1e6})
    write_text(spent, longer.model_dump_json())
    second = toy.train(tmp_path, preset, seed=3)
    whole = read_spent(spent)
    assert 1000 < whole.seconds <= 1000 + second.seconds
    assert (whole.steps, whole.peak_memory_mib, whole.started) == (12, 1e6, record.started)
    checkpoint = sha256(tmp_path / "checkpoint.pt")
    assert toy.train(tmp_path, preset, seed=3).steps_now == 0
    assert read_spent(spent) == whole, "nothing was done"
    assert sha256(tmp_path / "checkpoint.pt") == checkpoint, "no time is in the checkpoint"
    toy.train(tmp_path, preset, seed=4)
    assert read_spent(spent).seconds < 1000, "another training"


def test_a_killed_training_goes_on_exactly(tmp_path, toy):
    preset = toy.preset(steps=14, checkpoint_every=3)
    for name in ("whole", "killed"):
        toy.store(tmp_path / name, preset)
    toy.train(tmp_path / "whole", preset, seed=3)
    work = tmp_path / "killed"
    here = str(Path(__file__).parent)
    code = _KILLED.format(here=here, work=str(work), preset=preset.model_dump_json())
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 300
    while not (work / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (work / "last.pt").is_file()
    before = read_spent(work / "spent.json").seconds
    toy.train(work, preset, seed=3)
    whole, killed = _weights(tmp_path / "whole/checkpoint.pt"), _weights(work / "checkpoint.pt")
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    assert read_spent(work / "spent.json").seconds > before > 0


def test_other_settings_start_afresh(tmp_path, caplog, toy):
    preset = toy.preset()
    toy.store(tmp_path, preset)
    toy.train(tmp_path, preset, seed=1, stop_after=4)
    done = toy.train(tmp_path, preset, seed=2)
    assert done.steps_now == 12
    assert "other data or settings" in caplog.text
    # What a model says of its origin counts as well.
    assert toy.train(tmp_path, preset, seed=2).steps_now == 0
    assert toy.train(tmp_path, preset, seed=2, made_from="another encoder").steps_now == 12


def test_a_resume_with_another_arrangement_trains_the_same_samples(tmp_path, toy, monkeypatch):
    drawn: list[tuple[int, int]] = []
    sample = CropDataset.sample
    monkeypatch.setattr(
        CropDataset, "sample", lambda self, *key: drawn.append(key) or sample(self, *key)
    )

    def arranged(**training):
        validation = {"part": 0.3, "every": 2}
        return toy.preset(steps=5, dropout=0.0, validation=validation, **training)

    two, ones = arranged(batch=2), arranged(batch=1, accumulate=2, checkpoint_every=1)
    found = {}
    for name, presets in (("whole", [ones]), ("down", [two, ones]), ("up", [ones, two])):
        work = tmp_path / name
        toy.store(work, two)
        drawn.clear()
        for preset, stop in zip(presets, (3, None)[-len(presets) :], strict=True):
            done = toy.train(work, preset, seed=3, stop_after=stop)
        with (work / "metrics.csv").open() as stream:
            losses = [float(row["loss"]) for row in csv.DictReader(stream)]
        found[name] = (list(drawn), losses, done.steps_now)
        content = read_checkpoint(work / "checkpoint.pt")
        assert ToyPreset.model_validate_json(content["preset"]) == presets[-1]
    samples, losses, _ = found["whole"]
    assert samples == [(step, number) for step in range(5) for number in range(2)]
    for name in ("down", "up"):
        assert found[name][0] == samples
        assert found[name][1] == pytest.approx(losses, rel=1e-4)
        assert found[name][2] == 2


def test_training_without_prepared_data_is_refused(tmp_path, toy):
    with pytest.raises(BenchError, match="no prepared training data"):
        toy.train(tmp_path, toy.preset(), seed=0)


@pytest.mark.parametrize("answers", ["classes", "labels"])
def test_it_learns_a_toy_problem(tmp_path, toy, answers):
    validation = {"part": 0.3, "every": 100}
    preset = toy.preset(
        answers, dropout=0.0, steps=400, learning_rate=2e-2, warm_up=10, schedule="poly",
        log_every=100, checkpoint_every=100, validation=validation,
        sampling={"foreground_p": 0.7},
    )  # fmt: skip
    toy.store(tmp_path, preset, n_cases=4)
    toy.train(tmp_path, preset, seed=0)
    model = restore(read_checkpoint(tmp_path / "checkpoint.pt"), tmp_path).eval()
    image, reference = toy.scan(99)
    if answers == "classes":
        rows = model.prompts(torch.arange(3))
        masks = segment_masks(model, image, "mri", model.names, rows).segmentation
        found = {name: masks.mask(name) for name in model.names}
    else:
        labels = model.tasks.labels["toy"]
        answer = segment_labels(model, image, "mri", labels.rows)
        found = {name: np.isin(answer, values) for name, values in labels.classes.items()}
    for name, mask in found.items():
        truth = reference.mask(name)
        dice = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
        assert dice > 0.75, (name, dice)
    with (tmp_path / "validation.csv").open() as stream:
        means = [float(row["mean_dsc"]) for row in csv.DictReader(stream)]
    assert means[-1] > 0.75, "validation sees what prediction sees"


def test_a_gpu_preset_stops_at_once_without_a_gpu(tmp_path, toy, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="torch sees none"):
        toy.train(tmp_path / "not-even-there", toy.preset(device="cuda"), seed=0)
    assert check_device(toy.preset().training).type == "cpu"


def test_the_rate_rises_and_follows_its_schedule(toy):
    training = toy.preset(steps=100, warm_up=10, learning_rate=1.0).training
    rates = [rate_at(step, training) for step in (0, 10, 55, 100)]
    assert rates == pytest.approx([0.1, 1.0, 0.5, 0.0])
    poly = training.model_copy(update={"schedule": "poly"})
    assert rate_at(55, poly) == pytest.approx(0.5**0.9)
    constant = training.model_copy(update={"schedule": "constant"})
    assert [rate_at(step, constant) for step in (0, 10, 99)] == pytest.approx([0.1, 1.0, 1.0])


def test_an_optimiser_is_chosen_by_name(toy):
    parameter = torch.nn.Parameter(torch.ones(1))
    training = toy.preset(optimiser="sgd", momentum=0.9, learning_rate=0.1, weight_decay=0).training
    optimiser = new_optimiser([parameter], training)
    for _ in range(2):
        parameter.grad = torch.ones(1)
        optimiser.step()
    # Nesterov: the first step is 1 + 0.9, the second 1 + 0.9 * 1.9.
    assert float(parameter.detach()) == pytest.approx(1 - 0.1 * (1.9 + 1 + 0.9 * 1.9))
    assert isinstance(new_optimiser([parameter], toy.preset().training), torch.optim.AdamW)


def test_a_moving_average_forgets_the_start(toy):
    model = torch.nn.Linear(1, 1, bias=False)
    average = moving_average(model, 0.75)
    expected = None
    for update, weight in enumerate([4.0, 8.0, 6.0, 2.0, 10.0, 1.0]):
        torch.nn.init.constant_(model.weight, weight)
        average.update_parameters(model)
        keep = min(1 - 1 / (update + 1), 0.75)
        expected = weight if expected is None else keep * expected + (1 - keep) * weight
        assert float(average.module.weight.detach()) == pytest.approx(expected)


def test_the_average_is_kept_and_resumed_exactly(tmp_path, toy):
    preset = toy.preset(ema=0.8, validation={"part": 0.3, "every": 12})
    plain = toy.preset(validation={"part": 0.3, "every": 12})
    for name, used, stops in (("whole", preset, [None]), ("parts", preset, [5, 4, None]),
                              ("plain", plain, [None])):  # fmt: skip
        toy.store(tmp_path / name, used)
        for stop in stops:
            toy.train(tmp_path / name, used, seed=3, stop_after=stop)
    whole, parts, last = (
        _weights(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts", "plain")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    learning = _weights(tmp_path / "whole/last.pt")
    assert all(torch.equal(learning[key], last[key]) for key in last), "it changes no step"
    assert not any(torch.equal(whole[key], last[key]) for key in last)


def test_a_training_of_some_entries_knows_no_other(tmp_path, toy):
    toy.store(tmp_path, toy.preset())
    with pytest.raises(BenchError, match="no training case of `other` is prepared"):
        toy.train(tmp_path, toy.preset(), seed=0, entries=["other"])
    assert toy.train(tmp_path, toy.preset(steps=1), seed=0, entries=["toy"]).steps_now == 1


def test_a_resume_point_has_the_same_bytes_each_time(tmp_path, toy):
    for name in ("one", "other"):
        toy.store(tmp_path / name, toy.preset(steps=2))
        toy.train(tmp_path / name, toy.preset(steps=2), seed=0)
    for file in ("last.pt", "checkpoint.pt"):
        assert sha256(tmp_path / "one" / file) == sha256(tmp_path / "other" / file)
