"""From a run's cases to predictions: prepare, train, the adapter, side swaps."""

import csv

import numpy as np
import pytest
import torch

from evaluation.cases import CaseRecord, Prediction, read_image_case, write_case, write_prediction
from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks
from sat.adapter import SatNano
from sat.diagnosis.report import diagnose_run, report_lines
from sat.diagnosis.sides import run_side_swaps
from sat.model import model_content, save_content
from sat.training import prepare
from sat.training.prepare import prepare_run
from sat.training.store import read_index, read_record
from sat.training.train import train
from sat.training.validation import held_out_cases

DATASET = "msd_spleen"


@pytest.fixture
def run(tmp_path, toy) -> RunPaths:
    """Four cases in the run's layout, three of them for training."""
    paths = RunPaths(tmp_path)
    rows = []
    for seed in range(4):
        image, reference = toy.scan(seed, (24, 24, 12))
        case = f"spleen_{seed}"
        segmentation = Segmentation(
            reference.layers,
            reference.affine,
            {"spleen": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1, 2)),))},
        )
        record = CaseRecord(
            dataset=DATASET, case=case, patient=case, modality="ct", shape=(24, 24, 12),
            spacing_mm=image.spacing_mm, source_orientation="RAS", n_layers=1,
            classes=dict(segmentation.classes),
        )  # fmt: skip
        write_case(paths.case(DATASET, case), image, segmentation, record)
        rows.append((case, case, "test" if seed == 3 else "train"))
    paths.split(DATASET).parent.mkdir(parents=True)
    with paths.split(DATASET).open("w", newline="") as stream:
        csv.writer(stream).writerows([("case", "patient", "split"), *rows])
    return paths


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        name="toy",
        study="sat",
        data_kind="real",
        raw_root="raw",
        entries=[DATASET],
        models=["sat-nano"],
    )


def test_prepare_train_predict(run, config, toy):
    preset = toy.preset(steps=2)
    index = prepare_run(run, config, "sat-nano", preset)
    assert [entry.dataset for entry in index.entries] == [DATASET]
    assert index.entries[0].cases == ("spleen_0", "spleen_1", "spleen_2")
    work = run.model_run("sat-nano")
    train(work, preset, seed=0, progress=False)
    model = SatNano(ModelContext("sat-nano", run, config, work, None, {}))
    assert model.classes(DATASET) == {"spleen": None}
    assert set(model.classes("acdc").values()) == {"not among the 1 trained classes"}
    case = read_image_case(run.case(DATASET, "spleen_3"))
    answer = model.predict(case, ["spleen"])
    assert answer.segmentation.shape == case.shape
    assert answer.segmentation.classes["spleen"].kind == "direct"
    assert answer.own_grid is not None
    assert answer.own_grid.shape == (13, 13, 8)
    write_prediction(run.prediction("sat-nano", DATASET, "spleen_3"), "sat-nano", case, answer)


def test_thresholds_are_tried_on_what_the_training_held_out(run, config, toy):
    work = run.model_run("sat-nano")
    preset = toy.preset(steps=2, validation={"part": 0.3, "every": 2})
    index = prepare_run(run, config, "sat-nano", preset)
    held_out = held_out_cases(index, preset.training.validation)[DATASET]
    assert len(held_out) == 1
    train(work, preset, seed=0, progress=False)
    found = diagnose_run(run, config, "sat-nano", part=1.0)
    calibration = found["calibration"]
    assert calibration["cases"] == {DATASET: 1}
    assert not calibration["seen_in_training"]
    assert calibration["chose_the_checkpoint"]
    assert [row["class"] for row in calibration["classes"]] == ["spleen"]
    assert "seen in training" not in "\n".join(report_lines(found))
    # Trained on everything: the thresholds are said to flatter.
    plain = toy.preset(steps=2)
    train(work, plain, seed=0, progress=False)
    found = diagnose_run(run, config, "sat-nano", part=1.0)
    assert found["calibration"]["cases"] == {DATASET: 3}
    assert "training.validation" in "\n".join(report_lines(found))


def test_a_second_preparation_keeps_what_is_there(run, config, toy):
    preset = toy.preset()
    first = prepare_run(run, config, "sat-nano", preset)
    store = run.model_run("sat-nano") / "prepared" / DATASET
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}
    # A case whose record is missing was being written when the process was killed.
    (store / "spleen_1" / "record.json").unlink()
    assert prepare_run(run, config, "sat-nano", preset) == first
    after = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}
    assert {p.parent.name for p in before if before[p] != after[p]} == {"spleen_1"}
    # Another grid is another store.
    values = preset.model_dump()
    values["grid"]["spacing_mm"] = (3.0, 3.0, 3.0)
    prepare_run(run, config, "sat-nano", type(preset).model_validate(values))
    record = read_record(store / "spleen_0")
    assert record is not None
    assert record.shape == (9, 9, 8)


def test_a_preparation_killed_in_the_middle_leaves_nothing_to_train_from(
    run, config, toy, monkeypatch
):
    preset = toy.preset(steps=1)
    prepare_run(run, config, "sat-nano", preset)
    work = run.model_run("sat-nano")
    store = work / "prepared"
    values = preset.model_dump()
    values["grid"]["spacing_mm"] = (3.0, 3.0, 3.0)
    coarse = type(preset).model_validate(values)
    with pytest.raises(BenchError, match="another grid than the preset's") as caught:
        train(work, coarse, seed=0, progress=False)
    assert "(2.0, 2.0, 3.0)" in str(caught.value)
    assert "satbench sat prepare" in str(caught.value)

    def killed(path, array, write=prepare._write_array):
        if path.parent.name == "spleen_1" and path.name == "layers.npy":
            raise KeyboardInterrupt
        write(path, array)

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "_write_array", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_run(run, config, "sat-nano", coarse)
    # spleen_1 has the new image under the old labels: neither it nor the store may count.
    found = [read_record(store / DATASET / f"spleen_{i}") for i in range(3)]
    assert [record and record.shape for record in found] == [(9, 9, 8), None, (13, 13, 8)]
    for either in (preset, coarse):
        with pytest.raises(BenchError, match="no prepared training data"):
            train(work, either, seed=0, progress=False)
    prepare_run(run, config, "sat-nano", coarse)
    train(work, coarse, seed=0, progress=False)
    # Nothing to rewrite: the finished store is never without its index.
    monkeypatch.setattr(prepare, "write_text", lambda *_: None)
    prepare_run(run, config, "sat-nano", coarse)
    assert read_index(store).grid == coarse.grid


def test_a_bad_training_case_is_named(run, config, toy):
    folder = run.case(DATASET, "spleen_1")
    (folder / "image.nii.gz").write_bytes((folder / "image.nii.gz").read_bytes()[:200])
    with pytest.raises(BenchError, match="`spleen_1` of `msd_spleen` cannot be prepared"):
        prepare_run(run, config, "sat-nano", toy.preset())


def test_side_swaps_of_a_run(tmp_path):
    paths, affine = RunPaths(tmp_path), np.eye(4)
    config = RunConfig(
        name="t",
        study="sat",
        data_kind="real",
        raw_root="r",
        entries=["totalsegmentator"],
        models=["m"],
    )
    low, high = np.zeros((8, 4, 4), dtype=bool), np.zeros((8, 4, 4), dtype=bool)
    low[:2], high[5:] = True, True
    reference = pack_masks({"left kidney": low, "right kidney": high}, affine, "annotated")
    swapped = pack_masks({"left kidney": high, "right kidney": low}, affine, "direct")
    for case, prediction in (("a", reference), ("b", swapped), ("c", None)):
        record = CaseRecord(
            dataset="totalsegmentator", case=case, patient=case, modality="ct", shape=(8, 4, 4),
            spacing_mm=(1, 1, 1), source_orientation="RAS",
            n_layers=len(reference.layers), classes=dict(reference.classes),
        )  # fmt: skip
        folder = paths.case("totalsegmentator", case)
        write_case(folder, Volume(np.ones((8, 4, 4), np.float32), affine), reference, record)
        if prediction is not None:
            image = read_image_case(folder)
            out = paths.prediction("m", "totalsegmentator", case)
            write_prediction(out, "m", image, Prediction(prediction))
    counts = run_side_swaps(paths, config, "m", "totalsegmentator", ["a", "b", "c"])
    assert (counts.pairs, counts.swapped, counts.empty) == (2, 1, 0)


def test_a_gpu_named_in_the_card_must_be_there(run, config, toy_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    work = run.model_run("sat-nano")
    save_content(work / "checkpoint.pt", model_content(toy_model))
    model = SatNano(ModelContext("sat-nano", run, config, work, None, {"device": "cuda"}))
    with pytest.raises(BenchError, match="torch sees none"):
        model.classes(DATASET)
