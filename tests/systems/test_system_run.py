"""Universal systems in a run: prepare, train (killed and resumed), predict, measure."""

from __future__ import annotations

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from baselines.universal.adapter import UniversalSystem
from baselines.universal.config import ONE_FOR_EACH_ENTRY, SYSTEMS
from baselines.universal.systems import load_model, model_from
from baselines.universal.train import train
from evaluation.config import load_frozen
from evaluation.errors import BenchError
from evaluation.models.protocol import Model, ModelContext
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.scoring.shards import measure_shard
from evaluation.training.checkpoints import read_checkpoint
from evaluation.training.launch import torchrun_command
from evaluation.training.prepare import prepare_run
from evaluation.training.store import store_folder

MODEL = "multi-decoder"

_KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from baselines.universal.config import Preset
from baselines.universal.train import train
work, store, preset = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
entry = sys.argv[4] or None
train(work, store, Preset.model_validate_json(preset), 3, entry=entry, progress=False)
"""


def weights(work: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(work / "checkpoint.pt")["weights"]
    return found


def prepared(run: Path, preset) -> tuple[Path, Path]:
    """The model's folder and the prepared store."""
    paths = RunPaths(run)
    prepare_run(paths, load_frozen(run), preset.grid)
    return paths.model_run(MODEL), store_folder(paths, preset.grid)


@pytest.mark.long
def test_it_learns_and_is_measured_like_any_model(tiny_run, preset):
    sampling = {"foreground_p": 1.0}
    settings = preset(MODEL, steps=30, batch=4, learning_rate=1e-2, sampling=sampling)
    train(*prepared(tiny_run, settings), settings, 0, progress=False)
    scores = []
    for dataset in ("msd_hippocampus", "msd_spleen"):
        predict_shard(tiny_run, MODEL, dataset, 0)
        scores.append(pd.read_parquet(measure_shard(tiny_run, MODEL, dataset, 0)))
    rows = pd.concat(scores)
    assert set(rows["status"]) == {"scored"}
    assert set(rows["kind"]) == {"annotated", "union"}, "the union follows from the parts"
    assert set(rows["class"]) == {
        "anterior hippocampus", "posterior hippocampus", "hippocampus", "spleen",
    }  # fmt: skip
    assert rows["dsc"].min() > 0.6, rows[["class", "dsc"]]


@pytest.mark.parametrize(
    "system",
    [s if s == "hermes-r" else pytest.param(s, marks=pytest.mark.long) for s in SYSTEMS],
)
def test_a_killed_training_resumes_to_the_same_bits(tiny_run, preset, system):
    settings = preset(system, steps=8)
    _, store = prepared(tiny_run, settings)
    entry = "msd_hippocampus" if system in ONE_FOR_EACH_ENTRY else None
    work = RunPaths(tiny_run).model_run(system) / (entry or "")
    arguments = [sys.executable, "-c", _KILLED, str(work), str(store), settings.model_dump_json()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*arguments, entry or ""], env=environment)
    deadline = time.monotonic() + 120
    while not (work / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work / "checkpoint.pt").is_file(), "it was killed before the end"
    first = int(read_checkpoint(work / "last.pt")["step"])
    assert 0 < first < 8
    resumed = train(work, store, settings, 3, entry=entry, progress=False)
    assert resumed.steps_now == 8 - first
    parts = weights(work)
    with (work / "metrics.csv").open() as stream:
        assert [int(row["step"]) for row in csv.DictReader(stream)] == list(range(8))
    (work / "last.pt").unlink()
    assert train(work, store, settings, 3, entry=entry, progress=False).steps_now == 8
    whole = weights(work)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    again = train(work, store, settings, 3, entry=entry, progress=False)
    assert again.steps_now == 0, "nothing is left to do"


@pytest.mark.parametrize(("system", "steps"), [("multi-decoder", 2), ("multitalent", 0)])
def test_scans_that_lack_an_annotation_make_another_training_of_labels_only(
    tiny_run, preset, system, steps
):
    settings = preset(system, steps=2)
    work, store = prepared(tiny_run, settings)
    assert train(work, store, settings, 0, progress=False).steps_now == 2
    record = store / "msd_hippocampus" / "msd_hippocampus_00" / "record.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"not_annotated": ["anterior hippocampus"]}))
    assert train(work, store, settings, 0, progress=False).steps_now == steps
    assert train(work, store, settings, 0, progress=False).steps_now == 0


def test_a_checkpoint_has_the_labels_of_each_entry(tiny_run, preset):
    work, store = prepared(tiny_run, preset())
    train(work, store, preset(), 0, progress=False)
    model = load_model(work / "checkpoint.pt")
    hippocampus, spleen = (model.tasks.labels[d] for d in ("msd_hippocampus", "msd_spleen"))
    assert hippocampus.classes == {"anterior hippocampus": (1,), "posterior hippocampus": (2,)}
    assert spleen.classes == {"spleen": (1,)}
    assert [*hippocampus.rows.tolist(), *spleen.rows.tolist()] == list(range(5)), "each its own"
    with torch.inference_mode():
        answers = model.answers(torch.randn(2, 1, 32, 16, 16), model.prompts(hippocampus.rows))
    assert answers.shape == (2, 3, 32, 16, 16)
    assert torch.allclose(answers.sum(1), torch.ones(2, 32, 16, 16), atol=1e-5), "exclusive"


@pytest.mark.long
def test_validation_and_a_moving_average_choose_among_the_labels(tiny_run, preset):
    sampling = {"foreground_p": 1.0}
    validation = {"part": 0.3, "every": 10}
    settings = preset(
        steps=40, batch=4, learning_rate=1e-2, sampling=sampling, validation=validation, ema=0.9
    )
    work, store = prepared(tiny_run, settings)
    train(work, store, settings, 0, stop_after=25, progress=False)
    train(work, store, settings, 0, progress=False)
    with (work / "validation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    means = {(row["step"], row["dataset"]): float(row["mean_dsc"]) for row in rows}
    assert means["39", "msd_hippocampus"] > 0.5
    assert means["39", "msd_spleen"] > 0.5
    assert means["39", "(all)"] > means["9", "(all)"]


_TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from baselines.universal.config import Preset
from baselines.universal.train import train
work, store, preset = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
train(work, store, Preset.model_validate_json(preset), 3, progress=False)
"""


@pytest.mark.long
def test_two_processes_learn_what_one_learns_though_each_leaves_decoders_out(
    tiny_run, preset, tmp_path
):
    # Whole steps of AdamW along gradients of nothing but rounding would differ: a small rate.
    plain = {"steps": 5, "warm_up": 0, "learning_rate": 1e-4, "accumulate": 2}
    # The loss is that of a batch: as large in both, and one process takes more turns.
    shared, alone = preset(**plain), preset(**plain | {"accumulate": 4})
    _, store = prepared(tiny_run, shared)
    program = tmp_path / "program.py"
    program.write_text(_TWO)
    two, one = tmp_path / "two", tmp_path / "one"
    arguments = [str(program), str(two), str(store), shared.model_dump_json()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(torchrun_command(arguments, 2), env=environment, check=True, timeout=240)
    train(one, store, alone, 3, progress=False)
    for key, value in weights(one).items():
        torch.testing.assert_close(value, weights(two)[key], rtol=0, atol=1e-5, msg=key)
    apart = preset(**plain | {"accumulate": 2})
    train(tmp_path / "half", store, apart, 3, progress=False)
    half = weights(tmp_path / "half")
    assert max(float((half[k] - v).abs().max()) for k, v in weights(one).items()) > 1e-4


class _Evil:
    def __reduce__(self):
        return (os.system, ("touch hacked",))


def test_checkpoints_run_no_code_and_bad_ones_are_named(tmp_path, tiny_run, preset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"preset": _Evil()}, tmp_path / "evil.pt", pickle_module=pickle)
    with pytest.raises(BenchError, match="refused"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "hacked").exists()
    with pytest.raises(BenchError, match="not found"):
        read_checkpoint(tmp_path / "none.pt")
    work, store = prepared(tiny_run, preset())
    train(work, store, preset(), 0, stop_after=3, progress=False)
    whole = (work / "last.pt").read_bytes()
    (work / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BenchError, match="truncated or corrupt"):
        read_checkpoint(work / "last.pt")
    assert train(work, store, preset(), 0, progress=False).steps_now == 10, "it starts again"
    content = read_checkpoint(work / "checkpoint.pt")
    with pytest.raises(BenchError, match="not a universal system's"):
        model_from(content | {"weights": {}}, work / "checkpoint.pt")


def test_untrained_entries_are_unsupported_with_the_reason(tiny_run, preset):
    work, store = prepared(tiny_run, preset())
    train(work, store, preset(), 0, progress=False)
    model = UniversalSystem(
        ModelContext(MODEL, RunPaths(tiny_run), load_frozen(tiny_run), work, None, {})
    )
    assert isinstance(model, Model)
    (reason,) = set(model.classes("chaos_ct").values())
    assert reason == "the model was not trained on the entry `chaos_ct`"
    answer = model.classes("msd_hippocampus")
    assert answer["anterior hippocampus"] is None
    assert "union" in str(answer["hippocampus"])
