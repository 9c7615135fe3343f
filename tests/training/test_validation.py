"""The checkpoint is chosen on patients that are not trained on, and a resume chooses the same."""

import csv
from pathlib import Path

import pytest
import torch
from toy_world import ToyPreset, toy_preset

from evaluation.errors import BenchError
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.draws import CropDraws, training_groups
from evaluation.training.settings import Validation
from evaluation.training.store import PreparedEntry, PreparedIndex, read_index
from evaluation.training.validation import Score, dataset_means, held_out_cases, mean_dsc


def _index(patients: dict[str, str]) -> PreparedIndex:
    entry = PreparedEntry(
        dataset="d", modality="ct", classes=("c",), specialists={},
        cases=tuple(patients), patients=patients,
    )  # fmt: skip
    return PreparedIndex(format=1, grid=toy_preset().grid, entries=(entry,))


def test_no_patient_is_on_both_sides():
    patients = {f"case{n}": f"p{n // 3}" for n in range(60)}
    held_out = held_out_cases(_index(patients), Validation(part=0.25, every=1))["d"]
    trained = set(patients) - set(held_out)
    assert len({patients[case] for case in held_out}) == 5
    assert not {patients[case] for case in held_out} & {patients[case] for case in trained}
    assert len(held_out) == 15, "with all their cases"
    assert held_out_cases(_index(patients), None) == {}
    # The only patient of an entry is trained on.
    alone = held_out_cases(_index({"a": "p", "b": "p"}), Validation(part=0.25, every=1))
    assert alone == {"d": ()}


def test_held_out_cases_are_never_drawn(tmp_path, toy):
    preset = toy.preset(validation={"part": 0.3, "every": 4})
    toy.store(tmp_path, preset, n_cases=4)
    store = tmp_path / "prepared"
    index = read_index(store)
    held_out = held_out_cases(index, preset.training.validation)
    assert len(held_out["toy"]) == 2
    groups = training_groups(store, index, preset.training, held_out)
    draws = CropDraws(groups, preset.training.sampling, 12, seed=0)
    drawn = {draws.draw(step, n).record.case for step in range(12) for n in range(8)}
    assert drawn == {case for case in index.entries[0].cases if case not in held_out["toy"]}


def test_means_are_of_cases_then_classes_then_datasets():
    scores = [
        Score("a", "1", "x", 0.2), Score("a", "2", "x", 0.4), Score("a", "1", "y", 0.9),
        Score("b", "1", "z", 1.0),
    ]  # fmt: skip
    assert dataset_means(scores) == pytest.approx({"a": (0.3 + 0.9) / 2, "b": 1.0})
    assert mean_dsc(scores) == pytest.approx(0.8)
    with pytest.raises(BenchError, match="no validation case"):
        mean_dsc([])


def _rows(work: Path) -> list[dict[str, str]]:
    with (work / "validation.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_the_best_weights_become_the_checkpoint(tmp_path, toy):
    # Large steps at the end of a short training: the last weights need not be the best.
    preset = toy.preset(validation={"part": 0.3, "every": 3}, checkpoint_every=5, steps=10)
    for name in ("whole", "parts"):
        toy.store(tmp_path / name, preset)
    toy.train(tmp_path / "whole", preset, seed=3)
    for stop in (4, 3, None):
        toy.train(tmp_path / "parts", preset, seed=3, stop_after=stop)
    rows = _rows(tmp_path / "whole")
    assert rows == _rows(tmp_path / "parts")
    means = {int(row["step"]): float(row["mean_dsc"]) for row in rows if row["dataset"] == "(all)"}
    assert list(means) == [2, 5, 8, 9]
    contents = [read_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts")]
    chosen = contents[0]["validation"]
    assert means[chosen["step"] - 1] == pytest.approx(max(means.values()), abs=1e-6)
    assert chosen["mean_dsc"] == pytest.approx(max(means.values()), abs=1e-6)
    for key, value in contents[0]["network"].items():
        assert torch.equal(value, contents[1]["network"][key])
    assert ToyPreset.model_validate_json(contents[0]["preset"]) == preset
