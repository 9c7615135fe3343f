"""Programs that misbehave, and signals: each is the case's status or one line, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from evaluation.cases import CASE_FILE, Prediction, read_image_case
from evaluation.errors import BenchError
from evaluation.models.gate import checked_answer
from evaluation.models.running import predict_shard, read_status
from evaluation.paths import RunPaths
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

from .conftest import CASES, DATASET, PARTS, labels_of

LABELS = "{msd_hippocampus: {anterior hippocampus: 1, posterior hippocampus: 2}}"
ROOT = Path(__file__).resolve().parents[2]
# What the program does after it has answered the first case well.
ANSWER = """
import ctypes, os, pathlib, signal, subprocess, sys, time
import nibabel, numpy
source, target = map(pathlib.Path, sys.argv[1:])
first, second = (sorted(source.glob("*.nii.gz")) * 2)[:2]
image = nibabel.load(first)
labels = (numpy.asarray(image.dataobj) // 100).astype("{kind}")
nibabel.save(nibabel.Nifti1Image(labels, image.affine, dtype=labels.dtype), target / first.name)
"""
MISBEHAVIOUR = {
    "is not UTF-8": ("sys.stderr.buffer.write(bytes(range(128, 256)) * 9); sys.exit(3)", "code 3"),
    "says nothing": ("sys.exit(4)", "exit code 4"),
    "raises": ("1 / 0", "ZeroDivisionError"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "exit code -11"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
    "never ends": ("time.sleep(600)", "took more than"),
    "never stops talking": ("while True: os.write(2, b'x' * 65536)", "took more than"),
    "leaves a child": (
        (
            "again = 'import time; time.sleep(600)'\n"
            "subprocess.Popen([sys.executable, '-c', again], start_new_session=True)\n"
            "time.sleep(600)"
        ),
        "took more than",
    ),
    "answers with a link": ("(target / second.name).symlink_to(target / first.name)", "a link"),
    "answers with a pipe": ("os.mkfifo(target / second.name)", "a link or a device"),
    "answers with text": ("(target / second.name).write_text('no volume')", "cannot be read"),
    "answers with half a file": (
        "(target / second.name).write_bytes((target / first.name).read_bytes()[:60])",
        "truncated or corrupt",
    ),
    "answers nothing": ("pass", "not found"),
}
QUICK = ("is not UTF-8", "never stops talking", "answers with a link", "answers with a pipe")


def write_program(write_card, then: str, timeout_s: float = 30, kind: str = "uint8") -> None:
    Path("program.py").write_text(ANSWER.replace("{kind}", kind) + then + "\n")
    command = f'["{sys.executable}", program.py, "{{input}}", "{{output}}"]'
    write_card(
        f"  kind: command\n  command: {command}\n  timeout_s: {timeout_s}\n  labels: {LABELS}\n"
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.faults) for n in MISBEHAVIOUR],
)
def test_a_program_that_misbehaves_is_its_cases_status(run, write_card, name):
    then, words = MISBEHAVIOUR[name]
    write_program(write_card, then, timeout_s=4 if "took" in words else 60)
    before = set(psutil.Process().children(recursive=True))  # of tests that ran here earlier
    rows = {row.case: row for row in read_status(predict_shard(run, "mine", DATASET, 0))}
    assert rows[CASES[0]].status == "ok"
    assert rows[CASES[1]].status == "failed"
    assert words in rows[CASES[1]].reason
    assert not set(psutil.Process().children(recursive=True)) - before


@pytest.mark.parametrize("kind", ["int64", pytest.param("float64", marks=pytest.mark.faults)])
def test_answers_of_any_number_type_are_read(run, write_card, kind):
    write_program(write_card, "first.rename(target / second.name)", kind=kind)
    rows = read_status(predict_shard(run, "mine", DATASET, 0))
    assert rows[0].status == "ok"


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint64, np.float64])
def test_layers_of_any_number_type_pass(run, kind):
    case = read_image_case(RunPaths(run).case(DATASET, CASES[0]))
    layer = (labels_of(CASES[0]) == 1).astype(kind)
    places = {PARTS[0]: ClassPlace(kind="direct", parts=(Part(layer=0, values=(1,)),))}
    answer = Prediction(Segmentation((layer,), np.eye(4), places))
    checked = checked_answer(case, answer, [PARTS[0]])
    assert (checked.segmentation.layers[0] == layer).all()


class Leaves:
    """A model that ends its process on one case."""

    def __init__(self, _context) -> None:
        pass

    def classes(self, _dataset):
        return dict.fromkeys(PARTS)

    def predict(self, case, _classes):
        if case.case == CASES[1]:
            sys.exit(5)
        places = {
            name: ClassPlace(kind="direct", parts=(Part(layer=0, values=(i + 1,)),))
            for i, name in enumerate(PARTS)
        }
        return Prediction(Segmentation((labels_of(case.case),), np.eye(4), places))


CRASHES = """
import faulthandler, os, signal
import numpy as np
from evaluation.cases import Prediction
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

class Model:
    def __init__(self, context):
        pass

    def classes(self, dataset):
        return {"anterior hippocampus": None}

    def predict(self, case, classes):
        if case.case == "hippocampus_001":
            os.kill(os.getpid(), %s)
        layer = np.ones(case.shape, np.uint8)
        places = {classes[0]: ClassPlace(kind="direct", parts=(Part(layer=0, values=(1,)),))}
        return Prediction(Segmentation((layer,), case.image().affine, places))
"""


@pytest.mark.parametrize(
    "sign", ["signal.SIGSEGV", pytest.param("signal.SIGKILL", marks=pytest.mark.faults)]
)
def test_a_model_that_crashes_costs_its_case_and_the_next_call_does_the_others(
    run, write_card, sign
):
    Path("crashing.py").write_text(CRASHES % sign)
    write_card("  kind: python\n  object: crashing:Model\n")
    command = [
        str(Path(sys.executable).with_name("satbench")), "predict", "--run", str(run),
        "--model", "mine", "--dataset", DATASET, "--shard", "0",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path.cwd()}"}
    codes = [
        subprocess.run(command, env=environment, check=False, capture_output=True).returncode
        for _ in range(2)
    ]
    if sign == "signal.SIGKILL":  # nobody knows whether that was the model's fault
        assert codes == [-9, -9]
        return
    assert codes == [-11, 0]
    target = RunPaths(run).prediction_shard("mine", DATASET, 0)
    rows = {row.case: row for row in read_status(target)}
    assert [rows[case].status for case in CASES] == ["failed", "ok"]
    assert rows[CASES[0]].reason == "the model crashed its process: Segmentation fault"
    assert not list(target.parent.glob(".asked-*"))


class NoRoom(Leaves):
    """A model whose scratch disk is full."""

    def predict(self, _case, _classes):
        raise OSError(28, "No space left on device", "/scratch")


def use(monkeypatch, write_card, kind: type) -> None:
    monkeypatch.setattr("evaluation.models.adapters.load_object", lambda *_: kind)
    write_card("  kind: python\n  object: own:Model\n")


def test_a_model_that_ends_its_process_ends_its_case(run, monkeypatch, write_card):
    use(monkeypatch, write_card, Leaves)
    rows = {row.case: row for row in read_status(predict_shard(run, "mine", DATASET, 0))}
    assert [rows[case].status for case in CASES] == ["ok", "failed"]


def test_a_full_disk_is_no_fault_of_a_case(run, monkeypatch, write_card):
    use(monkeypatch, write_card, NoRoom)
    with pytest.raises(OSError, match="No space left"):
        predict_shard(run, "mine", DATASET, 0)
    assert not RunPaths(run).prediction_shard("mine", DATASET, 0).exists()


@pytest.mark.parametrize("name", ["../../../canary", "..", "a/b", "", "x\n"])
def test_an_id_that_leads_outside_touches_nothing_there(run, write_card, name):
    paths, canary = RunPaths(run), run.parent / "canary"
    canary.mkdir()
    (canary / "kept.txt").write_text("kept")
    case = paths.case(DATASET, CASES[1]) / CASE_FILE
    case.write_text(case.read_text().replace(f'"case": "{CASES[1]}"', f'"case": {name!r}'.replace(
        "'", '"')))  # fmt: skip
    write_program(write_card, "")
    rows = {row.case: row for row in read_status(predict_shard(run, "mine", DATASET, 0))}
    assert rows[CASES[1]].status == "failed"
    split = paths.split(DATASET)
    split.write_text(f'case,patient,split\n"{name}",p,test\n')
    with pytest.raises(BenchError, match=r"name of a folder|too few cells"):
        predict_shard(run, "mine", DATASET, 0)
    assert [p.name for p in canary.iterdir()] == ["kept.txt"]
    assert sorted(p.name for p in run.parent.iterdir()) == ["canary", "toy"]


def test_a_lost_prediction_is_no_score(run, write_card, write_predictions):
    from evaluation.scoring.shards import measure_shard

    write_card(f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {LABELS}\n")
    write_predictions()
    predict_shard(run, "mine", DATASET, 0)
    (RunPaths(run).prediction("mine", DATASET, CASES[0]) / "layer-0.nii.gz").unlink()
    with pytest.raises(BenchError, match="volume not found"):
        measure_shard(run, "mine", DATASET, 0)
    predict_shard(run, "mine", DATASET, 0)


def test_a_link_to_a_reference_is_no_prediction(run, write_card, write_predictions):
    write_card(f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {LABELS}\n")
    write_predictions()
    mine = Path("predictions/mine").resolve() / DATASET
    (mine / "elsewhere").mkdir()
    for case, folder in zip(CASES, (mine / "elsewhere", Path("raw").resolve()), strict=True):
        folder.mkdir(exist_ok=True)
        path = mine / f"{case}.nii.gz"
        path.rename(folder / path.name)
        path.symlink_to(folder / path.name)
    rows = {row.case: row for row in read_status(predict_shard(run, "mine", DATASET, 0))}
    assert [rows[case].status for case in CASES] == ["ok", "failed"]
    assert "a link into the references" in rows[CASES[1]].reason


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.faults)],
)
def test_a_signal_ends_with_one_line_and_the_next_call_goes_on(run, write_card, number, code):
    write_program(write_card, "pathlib.Path('begun').touch(); time.sleep(600)", timeout_s=900)
    command = [
        str(Path(sys.executable).with_name("satbench")), "predict", "--run", str(run),
        "--model", "mine", "--dataset", DATASET, "--shard", "0",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not Path("begun").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert said.count("satbench: stopped by") == 1
    assert "Traceback" not in said
    write_program(write_card, "")
    assert read_status(predict_shard(run, "mine", DATASET, 0))[0].status == "ok"
