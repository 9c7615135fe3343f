"""From a run's cases to predictions: prepare, train, the adapter."""

import csv
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from evaluation.cases import (
    CaseRecord,
    read_case_record,
    read_image_case,
    write_case,
    write_prediction,
)
from evaluation.config import RunConfig
from evaluation.errors import BenchError
from evaluation.files.writing import write_json
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.training import prepare, prepared_case
from evaluation.training.checkpoints import save_content
from evaluation.training.prepare import prepare_run
from evaluation.training.store import read_index, read_record, store_folder
from evaluation.training.validation import held_out_cases
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation
from sat.adapter import SatNano
from sat.diagnosis.report import diagnose_run, report_lines
from sat.train import train

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
    index = prepare_run(run, config, preset.grid)
    assert [entry.dataset for entry in index.entries] == [DATASET]
    assert index.entries[0].cases == ("spleen_0", "spleen_1", "spleen_2")
    work = run.model_run("sat-nano")
    train(work, store_folder(run, preset.grid), preset, seed=0, progress=False)
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


def test_a_validation_side_is_prepared_and_never_trained_on(run, config, toy):
    path = run.split(DATASET)
    path.write_text(
        path.read_text().replace("spleen_2,spleen_2,train", "spleen_2,spleen_2,validation")
    )
    preset = toy.preset(steps=2, validation={"part": 0.5, "every": 2})
    (entry,) = prepare_run(run, config, preset.grid).entries
    assert (entry.cases, entry.validation) == (("spleen_0", "spleen_1"), ("spleen_2",))
    index = read_index(store_folder(run, preset.grid))
    assert held_out_cases(index, preset.training.validation) == {DATASET: ("spleen_2",)}
    work = run.model_run("sat-nano")
    train(work, store_folder(run, preset.grid), preset, seed=0, progress=False)
    assert (work / "validation.csv").is_file()


def test_thresholds_are_tried_on_what_the_training_held_out(run, config, toy):
    work = run.model_run("sat-nano")
    preset = toy.preset(steps=2, validation={"part": 0.3, "every": 2})
    index = prepare_run(run, config, preset.grid)
    held_out = held_out_cases(index, preset.training.validation)[DATASET]
    assert len(held_out) == 1
    train(work, store_folder(run, preset.grid), preset, seed=0, progress=False)
    found = diagnose_run(run, config, "sat-nano", part=1.0)
    calibration = found["calibration"]
    assert calibration["cases"] == {DATASET: 1}
    assert not calibration["seen_in_training"]
    assert calibration["chose_the_checkpoint"]
    assert [row["class"] for row in calibration["classes"]] == ["spleen"]
    assert "seen in training" not in "\n".join(report_lines(found))
    # Trained on everything: the thresholds are said to flatter.
    plain = toy.preset(steps=2)
    train(work, store_folder(run, plain.grid), plain, seed=0, progress=False)
    found = diagnose_run(run, config, "sat-nano", part=1.0)
    assert found["calibration"]["cases"] == {DATASET: 3}
    assert "training.validation" in "\n".join(report_lines(found))


def test_several_processes_prepare_the_same(run, config, toy):
    grid = toy.preset().grid
    first = prepare_run(run, config, grid)
    store = store_folder(run, grid)
    alone = {p.relative_to(store): p.read_bytes() for p in store.rglob("*.npy")}
    shutil.rmtree(store)
    assert prepare_run(run, config, grid, jobs=2) == first
    assert {p.relative_to(store): p.read_bytes() for p in store.rglob("*.npy")} == alone
    # What is wrong with a case comes back whole from its process.
    shutil.rmtree(store)
    image = run.case(DATASET, "spleen_1") / "image.nii.gz"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(BenchError, match=r"training case `spleen_1` .* cannot be prepared"):
        prepare_run(run, config, grid, jobs=2)


def test_a_second_preparation_keeps_what_is_there(run, config, toy):
    preset = toy.preset()
    first = prepare_run(run, config, preset.grid)
    store = store_folder(run, preset.grid) / DATASET
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}
    # A case whose record is missing was being written when the process was killed.
    (store / "spleen_1" / "record.json").unlink()
    assert prepare_run(run, config, preset.grid) == first
    after = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}
    assert {p.parent.name for p in before if before[p] != after[p]} == {"spleen_1"}
    # Another grid is another store.
    values = preset.model_dump()
    values["grid"]["spacing_mm"] = (3.0, 3.0, 3.0)
    coarse = type(preset).model_validate(values).grid
    prepare_run(run, config, coarse)
    records = [
        read_record(store_folder(run, g) / DATASET / "spleen_0") for g in (preset.grid, coarse)
    ]
    assert [record.shape for record in records] == [(13, 13, 8), (9, 9, 8)]


def test_a_preparation_killed_in_the_middle_leaves_nothing_to_train_from(
    run, config, toy, monkeypatch
):
    preset = toy.preset(steps=1)
    prepare_run(run, config, preset.grid)
    work, store = run.model_run("sat-nano"), store_folder(run, preset.grid)
    values = preset.model_dump()
    values["grid"]["spacing_mm"] = (3.0, 3.0, 3.0)
    coarse = type(preset).model_validate(values)
    with pytest.raises(BenchError, match="another grid than the preset's") as caught:
        train(work, store, coarse, seed=0, progress=False)
    assert "(2.0, 2.0, 3.0)" in str(caught.value)
    assert "prepare the run's training cases" in str(caught.value)

    # The content of a case changes, and the next preparation is killed in it.
    case = run.case(DATASET, "spleen_1")
    write_json(case / "case.json", read_case_record(case).model_dump() | {"labels": "changed"})

    def killed(path, array, write=prepared_case._write_array):
        if path.parent.name == "spleen_1" and path.name == "layers.npy":
            raise KeyboardInterrupt
        write(path, array)

    with monkeypatch.context() as patched:
        patched.setattr(prepared_case, "_write_array", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_run(run, config, preset.grid)
    # spleen_1 has the new image under the old labels: neither it nor the store may count.
    found = [read_record(store / DATASET / f"spleen_{i}") for i in range(3)]
    assert [record is not None for record in found] == [True, False, True]
    with pytest.raises(BenchError, match="no prepared training data"):
        train(work, store, preset, seed=0, progress=False)
    prepare_run(run, config, preset.grid)
    train(work, store, preset, seed=0, progress=False)
    # Nothing to rewrite: the finished store is never without its index.
    for module in (prepare, prepared_case):
        monkeypatch.setattr(module, "write_text", lambda *_: None)
    prepare_run(run, config, preset.grid)
    assert read_index(store).grid == preset.grid


def test_two_preparations_at_once_write_every_case_once(run, config, toy, monkeypatch):
    grid, written = toy.preset().grid, []
    write = prepared_case._write_array

    def slowly(path, array):
        written.append((path.parent.name, path.name))
        time.sleep(0.01)
        write(path, array)

    monkeypatch.setattr(prepared_case, "_write_array", slowly)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: prepare_run(run, config, grid), range(2))
    assert one == other == read_index(store_folder(run, grid))
    assert len(written) == len(set(written)) == 9, "three cases of three arrays"


def test_a_bad_training_case_is_named(run, config, toy):
    folder = run.case(DATASET, "spleen_1")
    (folder / "image.nii.gz").write_bytes((folder / "image.nii.gz").read_bytes()[:200])
    with pytest.raises(BenchError, match="`spleen_1` of `msd_spleen` cannot be prepared"):
        prepare_run(run, config, toy.preset().grid)


def test_a_gpu_named_in_the_card_must_be_there(run, config, toy_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    work = run.model_run("sat-nano")
    save_content(work / "checkpoint.pt", toy_model.content())
    model = SatNano(ModelContext("sat-nano", run, config, work, None, {"device": "cuda"}))
    with pytest.raises(BenchError, match="torch sees none"):
        model.classes(DATASET)
