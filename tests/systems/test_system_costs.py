"""What a run's tables say that a model took: the sum of its units, whatever the last job did."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baselines.universal.config import Preset
from baselines.universal.train import train
from evaluation.cases import CASE_FILE
from evaluation.config import freeze, load_frozen
from evaluation.files.writing import write_text
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.runs.provenance import write_record
from evaluation.schema import COST, RUNTIME, read_table
from evaluation.spent import read_spent
from evaluation.training.prepare import prepare_run
from evaluation.training.store import store_folder

MODEL = "multi-decoder"
ENTRIES = ("msd_hippocampus", "msd_spleen")


def work_through(run: Path, preset: Preset) -> None:
    """Each step of the path once more, as the workflow's jobs do, and the record."""
    paths = RunPaths(run)
    prepare_run(paths, load_frozen(run), preset.grid)
    store = store_folder(paths, preset.grid)
    train(paths.model_run(MODEL), store, preset, 0, progress=False)
    for dataset in ENTRIES:
        predict_shard(run, MODEL, dataset, 0)
    write_record(run)


def tables(run: Path) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Seconds by (step, entry), cases by the same, and the model's row of the cost table."""
    paths = RunPaths(run)
    runtime = read_table(paths.table("runtime"), RUNTIME).set_index(["step", "dataset"])
    assert runtime.index.is_unique
    cost = read_table(paths.table("cost"), COST).set_index("model").loc[MODEL]
    return runtime["seconds"], runtime["n_cases"], cost


def add_case(run: Path, dataset: str, side: str) -> str:
    """A copy of the first case under a new name, on one side of the split."""
    paths, name = RunPaths(run), f"{dataset}_{side}"
    shutil.copytree(paths.case(dataset, f"{dataset}_00"), paths.case(dataset, name))
    record = paths.case(dataset, name) / CASE_FILE
    write_text(record, record.read_text().replace(f"{dataset}_00", name))
    with paths.split(dataset).open("a", newline="") as stream:
        csv.writer(stream).writerow([name, name, side])
    return name


@pytest.fixture
def done(tiny_run: Path, preset: Callable[..., Preset]) -> tuple[Path, Preset]:
    config = load_frozen(tiny_run)
    presets = {MODEL: str(tiny_run / "preset.yaml")}
    settings = preset(steps=4)
    write_text(tiny_run / "preset.yaml", settings.model_dump_json(exclude={"system"}))
    freeze(config.model_copy(update={"presets": presets}), RunPaths(tiny_run).config)
    work_through(tiny_run, settings)
    return tiny_run, settings


def test_tables_are_the_sum_of_the_units(done):
    run, settings = done
    paths = RunPaths(run)
    work, store = paths.model_run(MODEL), store_folder(paths, settings.grid)
    seconds, n_cases, cost = tables(run)
    assert set(seconds.index) == {("train", "")} | {
        (step, dataset) for step in ("prepare", "predict") for dataset in ENTRIES
    }
    assert (seconds > 0).all()
    trained = read_spent(work / "spent.json")
    assert seconds["train", ""] == cost["train_seconds"] == trained.seconds
    for dataset in ENTRIES:
        cases = [read_spent(p) for p in (store / dataset).glob("*/spent.json")]
        assert n_cases["prepare", dataset] == len(cases) == 4
        assert seconds["prepare", dataset] == pytest.approx(sum(c.seconds for c in cases))
        assert n_cases["predict", dataset] == 1
    assert cost["predict_seconds_per_case"] == pytest.approx(
        np.median([seconds["predict", dataset] for dataset in ENTRIES])
    )
    assert cost["peak_memory_mib"] >= trained.peak_memory_mib > 0
    assert cost["device"] == "measured, CPU"


def test_a_second_run_changes_no_number(done):
    run, settings = done
    before = [read_table(RunPaths(run).table(t.name), t) for t in (COST, RUNTIME)]
    # What the workflow measured of the jobs that had nothing to do.
    for name in ("train", "prepare"):
        folder = run / "benchmarks" / name
        folder.mkdir(parents=True)
        head = "s\th:m:s\tmax_rss\tcpu_time\n"
        (folder / f"{MODEL}.tsv").write_text(f"{head}0.10\t0:00:00\t1.00\t0.10\n")
    work_through(run, settings)
    after = [read_table(RunPaths(run).table(t.name), t) for t in (COST, RUNTIME)]
    for one, other in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_one_more_case_adds_its_own_time_only(done):
    run, settings = done
    paths = RunPaths(run)
    before, _, _ = tables(run)
    name = add_case(run, "msd_spleen", "test")
    work_through(run, settings)
    after, n_cases, cost = tables(run)
    assert n_cases["predict", "msd_spleen"] == 2
    status = pd.read_csv(paths.prediction_status(MODEL, "msd_spleen")).set_index("case")
    own = status.loc[name, "seconds"]
    assert own > 0
    assert after["predict", "msd_spleen"] == pytest.approx(before["predict", "msd_spleen"] + own)
    same = [key for key in before.index if key != ("predict", "msd_spleen")]
    pd.testing.assert_series_equal(after[same], before[same])
    assert cost["train_seconds"] == before["train", ""]

    # One to train on: it alone is prepared, and the training starts anew.
    name = add_case(run, "msd_spleen", "train")
    work_through(run, settings)
    later, n_cases, _ = tables(run)
    work = paths.model_run(MODEL)
    store = store_folder(paths, settings.grid)
    own = read_spent(store / "msd_spleen" / name / "spent.json").seconds
    assert n_cases["prepare", "msd_spleen"] == 5
    assert later["prepare", "msd_spleen"] == pytest.approx(after["prepare", "msd_spleen"] + own)
    assert later["train", ""] == read_spent(work / "spent.json").seconds


def test_what_was_not_measured_says_so(done):
    run, settings = done
    work = RunPaths(run).model_run(MODEL)
    (work / "spent.json").unlink()  # as of a training before there was a record
    work_through(run, settings)
    seconds, _, cost = tables(run)
    assert np.isnan(seconds["train", ""])
    assert np.isnan(cost["train_seconds"])
    assert cost["predict_seconds_per_case"] > 0
    # The prepared data may go when the training is done.
    shutil.rmtree(store_folder(RunPaths(run), settings.grid))
    write_record(run)
    seconds, _, _ = tables(run)
    assert np.isnan(seconds["prepare", ""])
    assert (seconds["predict"] > 0).all()
