"""The multi-decoder in a run: prepare, train (killed and resumed), predict, measure."""

from __future__ import annotations

import csv
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.universal.multi_decoder.adapter import MultiDecoder
from baselines.universal.multi_decoder.checkpoint import model_from, read_checkpoint
from baselines.universal.multi_decoder.config import MODEL, Augmentation
from baselines.universal.multi_decoder.crops import CropSampler
from baselines.universal.multi_decoder.prepare import prepare_run, read_index
from baselines.universal.multi_decoder.train import train
from evaluation.config import load_frozen
from evaluation.errors import BenchError
from evaluation.models.protocol import Model, ModelContext
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.scoring.shards import measure_shard

_KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from baselines.universal.multi_decoder.config import Preset
from baselines.universal.multi_decoder.train import train
train(Path(sys.argv[1]), Preset.model_validate_json(sys.argv[2]), 3, progress=False)
"""


def weights(work: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(work / "checkpoint.pt")["weights"]
    return found


def prepared(run: Path, preset) -> Path:
    paths = RunPaths(run)
    prepare_run(paths, load_frozen(run), preset)
    return paths.model_run(MODEL)


def test_it_learns_and_is_measured_like_any_model(tiny_run, preset):
    settings = preset(steps=30, batch=4, learning_rate=1e-2, foreground_p=1.0)
    work = prepared(tiny_run, settings)
    train(work, settings, 0, progress=False)
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


def test_a_killed_training_resumes_to_the_same_bits(tiny_run, preset, tmp_path):
    settings = preset(steps=20)
    work = prepared(tiny_run, settings)
    arguments = [sys.executable, "-c", _KILLED, str(work), settings.model_dump_json()]
    process = subprocess.Popen(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (work / "last.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (work / "checkpoint.pt").is_file(), "it was killed before the end"
    first = int(read_checkpoint(work / "last.pt")["step"])
    assert 0 < first < 20
    resumed = train(work, settings, 3, progress=False)
    assert resumed.steps_now == 20 - first
    parts = weights(work)
    with (work / "metrics.csv").open() as stream:
        assert [int(row["step"]) for row in csv.DictReader(stream)] == list(range(20))
    (work / "last.pt").unlink()
    assert train(work, settings, 3, progress=False).steps_now == 20
    whole = weights(work)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert train(work, settings, 3, progress=False).steps_now == 0, "nothing is left to do"


def test_preparation_keeps_what_is_there_and_notices_a_change(tiny_run, preset):
    store = prepared(tiny_run, preset()) / "prepared"
    files = sorted(store.rglob("image.npy"))
    assert len(files) == 8
    before = [f.stat().st_mtime_ns for f in files]
    files[0].with_name("record.json").unlink()  # killed in this case
    prepared(tiny_run, preset())
    after = [f.stat().st_mtime_ns for f in files]
    assert [a != b for a, b in zip(after, before, strict=True)] == [True] + [False] * 7
    index = read_index(store)
    hippocampus = next(e for e in index.entries if e.dataset == "msd_hippocampus")
    assert hippocampus.n_labels == 3
    assert set(hippocampus.classes) == {"anterior hippocampus", "posterior hippocampus"}
    labels = np.load(files[0].with_name("labels.npy"))
    assert set(np.unique(labels)) == {0, 1, 2}
    values = preset().model_dump()
    values["grid"]["spacing_mm"] = (3.0, 3.0, 3.0)
    with pytest.raises(BenchError, match="another grid"):
        train(store.parent, type(preset()).model_validate(values), 0, progress=False)


def test_the_batch_of_a_step_does_not_depend_on_the_steps_before(tiny_run, preset):
    changes = Augmentation(spatial_p=1, rotation_degrees=20, zoom=0.2, intensity_p=0.5)
    settings = preset(augmentation=changes.model_dump(), foreground_p=1.0)
    store = prepared(tiny_run, settings) / "prepared"
    index = read_index(store)
    one = CropSampler(store, index, settings.training, 5)
    other = CropSampler(store, index, settings.training, 5)
    for step in range(6):
        one.batch(step)
    first, again = one.batch(7), other.batch(7)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.image, one.batch(8).image)
    seen = {name for step in range(12) for name in one.batch(step).entries}
    assert seen == {"msd_hippocampus", "msd_spleen"}
    assert int(first.labels.max()) >= 1, "crops are centred on a class"


def test_the_crops_of_a_batch_are_of_one_entry_if_the_preset_says_so(tiny_run, preset):
    store = prepared(tiny_run, preset()) / "prepared"
    index = read_index(store)
    mixed, apart = (
        CropSampler(store, index, preset(mixed_batches=choice).training, 5)
        for choice in (True, False)
    )
    assert {len(set(mixed.batch(step).entries)) for step in range(12)} == {1, 2}
    batches = [apart.batch(step).entries for step in range(12)]
    assert all(len(set(entries)) == 1 for entries in batches)
    assert {entries[0] for entries in batches} == {"msd_hippocampus", "msd_spleen"}


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
    work = prepared(tiny_run, preset())
    train(work, preset(), 0, stop_after=3, progress=False)
    whole = (work / "last.pt").read_bytes()
    (work / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BenchError, match="refused"):
        read_checkpoint(work / "last.pt")
    assert train(work, preset(), 0, progress=False).steps_now == 10, "it starts again"
    content = read_checkpoint(work / "checkpoint.pt")
    with pytest.raises(BenchError, match="not a multi-decoder's"):
        model_from(content | {"weights": {}}, work / "checkpoint.pt")


def test_untrained_entries_are_unsupported_with_the_reason(tiny_run, preset):
    work = prepared(tiny_run, preset())
    train(work, preset(), 0, progress=False)
    model = MultiDecoder(
        ModelContext(MODEL, RunPaths(tiny_run), load_frozen(tiny_run), work, None, {})
    )
    assert isinstance(model, Model)
    assert set(model.classes("chaos_ct").values()) == {"there is no decoder for this entry"}
    answer = model.classes("msd_hippocampus")
    assert answer["anterior hippocampus"] is None
    assert "union" in str(answer["hippocampus"])
