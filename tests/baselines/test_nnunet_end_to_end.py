"""Real nnU-Net on a tiny run: prepare, train, kill and resume, predict."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import psutil
import pytest
import torch

from baselines.nnunet.adapter import NnunetSpecialists
from baselines.nnunet.jobs import find_job
from baselines.nnunet.process import environment, message_of, run_child
from baselines.nnunet.training import plan_report, prepare_specialist, train_specialist
from evaluation.cases import Prediction, read_image_case, read_reference
from evaluation.config import freeze, load_frozen
from evaluation.errors import BenchError
from evaluation.models.protocol import BatchModel, ModelContext
from evaluation.paths import RunPaths

ORGANS = "totalsegmentator-organs"
MUSCLES = "totalsegmentator-muscles"


@pytest.fixture(scope="module")
def prepared(tiny_run: Path) -> Path:
    prepare_specialist(tiny_run, ORGANS)
    return tiny_run


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("results") / "undisturbed"
    shutil.copytree(prepared, run)
    train_specialist(run, ORGANS)
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    path = find_job(run, ORGANS).checkpoint("all")
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=False)["network_weights"]
    return found


def test_preparation_is_recorded(prepared: Path) -> None:
    folder = RunPaths(prepared).model_run("nnunet") / ORGANS
    record = json.loads((folder / "prepared.json").read_text())
    assert record["classes"] == {"liver": [1], "spleen": [2]}
    assert all(leaf["voxels"] > 0 for leaf in record["leaves"])
    assert record["cases"] == ["s0000", "s0001", "s0002", "s0003"]
    assert record["plan"]["width"][0] == 4
    assert max(record["plan"]["patch_size"]) <= 16
    raw = folder / "raw" / record["dataset_name"]
    image = raw / "imagesTr" / "s0000_0000.nii.gz"
    assert image.stat().st_nlink == 2  # a link, not a copy
    labels = np.asarray(nib.load(raw / "labelsTr" / "s0000.nii.gz").dataobj)
    _, reference = read_reference(RunPaths(prepared).case("totalsegmentator", "s0000"))
    assert ((labels == 1) == reference.mask("liver")).all()


def stored_arrays(data: Path) -> dict[str, np.ndarray]:
    """What a store of nnU-Net holds; equal arrays need not be equal files (Blosc pads them)."""
    return {path.name: blosc2.open(str(path), mode="r")[:] for path in data.rglob("*.b2nd")}


def test_a_killed_preparation_goes_on_with_the_next_case(prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(prepared, run)
    folder = RunPaths(run).model_run("nnunet") / ORGANS
    before = json.loads((folder / "prepared.json").read_text())
    (data,) = folder.glob("preprocessed/Dataset*")
    arrays = stored_arrays(data)
    # What a kill while the second case was written leaves behind.
    for path in (folder / "prepared.json", folder / "preprocessed" / "satbench.json"):
        path.unlink()
    (data / ".done" / "s0001").unlink()
    (half,) = data.rglob("s0001.b2nd")
    half.write_bytes(b"half")
    (folder / "raw" / before["dataset_name"] / "counts" / "s0001.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in data.rglob("s000[023]*.b2nd")}
    assert len(kept) == 6

    prepare_specialist(run, ORGANS)
    after = json.loads((folder / "prepared.json").read_text())
    assert {k: v for k, v in after.items() if k not in ("seconds", "peak_memory_mib")} == {
        k: v for k, v in before.items() if k not in ("seconds", "peak_memory_mib")
    }
    assert after["seconds"] is None, "its first part was not measured"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    again = stored_arrays(data)
    assert again.keys() == arrays.keys()
    assert all((again[name] == arrays[name]).all() for name in arrays)


def test_training_is_recorded_and_complete_ones_are_left_alone(undisturbed: Path) -> None:
    path = RunPaths(undisturbed).model_run("nnunet") / ORGANS / "model.json"
    record = json.loads(path.read_text())
    assert record["trainer"] == "ScheduledTrainer"  # found although it is not nnU-Net's own
    assert record["settings"]["epochs"] == 6
    assert (path.parent / record["checkpoints"][0]).is_file()
    assert not list(path.parent.rglob("checkpoint_latest.pth"))
    before = path.stat().st_mtime_ns
    train_specialist(undisturbed, ORGANS)
    assert path.stat().st_mtime_ns == before
    # Snakemake deletes it where something that it waits for changed; the training is still there.
    path.unlink()
    train_specialist(undisturbed, ORGANS)
    assert json.loads(path.read_text()) == record, "what it took included"
    assert record["seconds"] > 0
    assert record["peak_memory_mib"] > 0
    fields = {row["field"] for row in plan_report(undisturbed)}
    assert fields >= {"width", "batch_size"} or fields >= {"width", "patch_size"}


def test_a_killed_training_continues_to_the_same_weights(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    shutil.copytree(prepared, run)
    latest = find_job(run, ORGANS).model_folder / "fold_all" / "checkpoint_latest.pth"
    command = "import sys; from evaluation.cli import main; sys.argv[0] = 'satbench'; main()"
    arguments = ["train", "--run", str(run), "--model", "nnunet", "--stage", "train"]
    arguments += ["--unit", ORGANS]
    parent = subprocess.Popen(
        [sys.executable, "-c", command, *arguments], stderr=subprocess.DEVNULL
    )
    while not latest.is_file():
        assert parent.poll() is None, "the training ended before it could be killed"
        time.sleep(0.01)
    children = psutil.Process(parent.pid).children(recursive=True)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert children
    assert not alive, "nnU-Net must die with the process that started it"
    epoch = torch.load(latest, weights_only=False)["current_epoch"]
    assert 0 < epoch < 6
    assert not (latest.parents[4] / "model.json").exists()

    train_specialist(run, ORGANS)
    log = (RunPaths(run).model_run("nnunet") / ORGANS / "train.log").read_text()
    assert log.count(f"Epoch {epoch}\n") + log.count(f"Epoch {epoch} \n") >= 1
    seconds = torch.load(latest.with_name("checkpoint_final.pth"), weights_only=False)["logging"]
    starts, ends = seconds["epoch_start_timestamps"], seconds["epoch_end_timestamps"]
    model = json.loads((RunPaths(run).model_run("nnunet") / ORGANS / "model.json").read_text())
    assert len(starts) == len(ends) == 6
    assert model["seconds"] == pytest.approx(sum(ends) - sum(starts), abs=0.02)
    resumed, expected = weights(run), weights(undisturbed)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def interrupted(undisturbed: Path, run: Path) -> Path:
    """The finished training as if it had been killed after its latest checkpoint; that file."""
    shutil.copytree(undisturbed, run)
    folder = RunPaths(run).model_run("nnunet") / ORGANS
    (folder / "model.json").unlink()
    (folder / "trained" / "satbench.json").unlink()
    latest = find_job(run, ORGANS).checkpoint("all").with_name("checkpoint_latest.pth")
    return latest.with_name("checkpoint_final.pth").rename(latest)


@pytest.mark.long
@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_a_training_goes_on_without_a_damaged_checkpoint(
    undisturbed: Path, tmp_path: Path, damage: str
) -> None:
    run = tmp_path / "run"
    latest = interrupted(undisturbed, run)
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    latest.write_bytes(content if damage == "altered" else content[: len(content) // 2])
    train_specialist(run, ORGANS)
    log = (RunPaths(run).model_run("nnunet") / ORGANS / "train.log").read_text()
    assert f"{latest} is damaged" in log
    found, expected = weights(run), weights(undisturbed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.long
@pytest.mark.parametrize("content", [{"epoch": 1}, {"network_weights": Path("evil")}])
def test_a_checkpoint_of_something_else_is_named(
    undisturbed: Path, tmp_path: Path, content: dict[str, object]
) -> None:
    run = tmp_path / "run"
    latest = interrupted(undisturbed, run)
    torch.save(content, latest)
    with pytest.raises(BenchError, match=r"delete checkpoint_\*\.pth") as caught:
        train_specialist(run, ORGANS)
    assert str(latest.parent) in str(caught.value)
    assert latest.is_file()


def test_specialists_are_joined_and_a_broken_image_fails_alone(undisturbed: Path) -> None:
    paths, config = RunPaths(undisturbed), load_frozen(undisturbed)
    work = paths.model_run("nnunet")
    shutil.copytree(work / ORGANS, work / MUSCLES, dirs_exist_ok=True)
    copied = work / MUSCLES / "model.json"
    record = json.loads(copied.read_text())
    record["classes"] = {"left iliopsoas": [1], "right iliopsoas": [2]}
    copied.write_text(json.dumps(record))
    context = ModelContext("nnunet", paths, config, work, config.presets["nnunet"], {})
    model = NnunetSpecialists(context)
    assert isinstance(model, BatchModel)
    support = model.classes("totalsegmentator")
    supported = {name for name, reason in support.items() if reason is None}
    assert supported == {"liver", "spleen", "left iliopsoas", "right iliopsoas"}
    assert support["left kidney"] == "not in this run's classes"
    broken = paths.case("totalsegmentator", "s0004") / "image.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    cases = [read_image_case(paths.case("totalsegmentator", c)) for c in ("s0004", "s0005")]
    names = ["liver", "spleen", "left iliopsoas"]
    answers = {case.case: (answer, s) for case, answer, s in model.predict_all(cases, names)}
    assert isinstance(answers["s0004"][0], BenchError)
    prediction, seconds = answers["s0005"]
    assert isinstance(prediction, Prediction)
    assert seconds > 0
    assert prediction.segmentation.shape == cases[1].shape
    assert len(prediction.segmentation.layers) == 2
    places = prediction.segmentation.classes
    assert {name: place.parts[0].layer for name, place in places.items()} == {
        "liver": 0,
        "spleen": 0,
        "left iliopsoas": 1,
    }


def test_a_missing_specialist_is_named(prepared: Path) -> None:
    paths, config = RunPaths(prepared), load_frozen(prepared)
    work = paths.model_run("nnunet")
    context = ModelContext("nnunet", paths, config, work, config.presets["nnunet"], {})
    cases = [read_image_case(paths.case("totalsegmentator", "s0005"))]
    with pytest.raises(BenchError, match="is not trained"):
        list(NnunetSpecialists(context).predict_all(cases, ["liver"]))


@pytest.mark.long
def test_any_other_trainer_is_found_beside_a_cpu_torch(tmp_path: Path) -> None:
    request = {"trainer": "nnUNetTrainer_5epochs"}
    log = tmp_path / "find.log"
    lines = list(run_child("find-trainer", request, log, environment(tmp_path, threads=1)))
    answers = [m for m in map(message_of, lines) if m]
    assert answers[0]["trainer"] == "nnUNetTrainer_5epochs"


def test_a_second_process_is_told_that_the_specialist_is_taken(tmp_path: Path) -> None:
    from filelock import FileLock

    lock = tmp_path / ".lock"
    request = {"trainer": "nnUNetTrainer", "lock": str(lock), "lock_wait_s": 0.1}
    with FileLock(lock), pytest.raises(BenchError, match="another process"):
        list(
            run_child("find-trainer", request, tmp_path / "x.log", environment(tmp_path, threads=1))
        )


def test_training_wants_a_preparation(tiny_run: Path) -> None:
    with pytest.raises(BenchError, match="not prepared"):
        train_specialist(tiny_run, MUSCLES)


@pytest.mark.long
def test_five_folds_are_trained_and_averaged(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "folds"
    shutil.copytree(tiny_run, run)
    paths, config = RunPaths(run), load_frozen(run)
    preset = tmp_path / "folds.yaml"
    text = Path(config.presets["nnunet"]).read_text().replace("base: 24", "base: 4")
    preset.write_text(text + "folds: [0, 1, 2, 3, 4]\n")
    freeze(config.model_copy(update={"presets": {"nnunet": str(preset)}}), paths.config)
    split = paths.split("totalsegmentator")
    split.write_text(split.read_text().replace("s0004,s0004,test", "s0004,s0004,train"))
    prepare_specialist(run, ORGANS)
    record = json.loads(train_specialist(run, ORGANS).read_text())
    assert record["folds"] == [0, 1, 2, 3, 4]
    folder = paths.model_run("nnunet") / ORGANS
    assert len({(folder / name).stat().st_ino for name in record["checkpoints"]}) == 5

    context = ModelContext("nnunet", paths, load_frozen(run), folder.parent, str(preset), {})
    case = read_image_case(paths.case("totalsegmentator", "s0005"))
    (answer,) = NnunetSpecialists(context).predict_all([case], ["liver", "spleen"])
    assert isinstance(answer[1], Prediction)
    assert set(answer[1].segmentation.classes) == {"liver", "spleen"}
