"""A trained model of a user's own: one card, one file, and a preset that the run freezes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from evaluation.paths import RunPaths

ROOT = Path(__file__).resolve().parents[2]
RUN = ("--cores", "2", "--configfile", "config/own.yaml")
RECORD = "results/own/run.json"
TRAINED = "results/own/runs/brightness/msd_spleen.json"
MODEL = "brightness"
CONFIG = {
    "name": "own",
    "study": "sat",
    "data_kind": "synthetic",
    "raw_root": "results/own/raw",
    "cohort": {"patients": 3, "test_patients": 1},
    "entries": ["msd_spleen"],
    "models": [MODEL],
    "presets": {MODEL: "mine.yaml"},
    "tolerance_mm": [1.0],
}


@pytest.fixture(scope="module")
def own(new_clone: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A clone with the guide's model, trained, in which the tests change the preset in turn."""
    folder = tmp_path_factory.mktemp("own")
    clone = new_clone(folder, PYTHONPATH=f"{ROOT}:{folder}")
    guide = (ROOT / "docs/pages/models.md").read_text(encoding="utf-8")
    (folder / "config" / "models").mkdir()
    for file in (f"config/models/{MODEL}.yaml", "brightness.py"):
        text = guide.partition(f"cat > {file} <<'END'\n")[2].partition("\nEND\n")[0]
        (folder / file).write_text(text + "\n")
    (folder / "config" / "own.yaml").write_text(yaml.safe_dump(CONFIG))
    set_preset(clone, 2)
    clone.run(RECORD, *RUN)
    return clone


def set_preset(clone: Any, width: float) -> None:
    (clone.folder / "mine.yaml").write_text(f"{{width: {width}}}\n")


def work_of(clone: Any) -> Path:
    return RunPaths(clone.folder / "results" / "own").model_run(MODEL)


def made_with(clone: Any) -> list[float]:
    """The preset that each stage was done with, as its output says."""
    names = ("levels.json", "msd_spleen.json")
    return [json.loads((work_of(clone) / name).read_text())["width"] for name in names]


def test_it_is_trained_predicts_and_is_scored(own):
    assert made_with(own) == [2, 2]
    rows = pd.read_parquet(RunPaths(own.folder / "results/own").scores(MODEL, "msd_spleen"))
    assert set(rows["status"]) == {"scored"}
    assert rows["dsc"].min() > 0
    record = json.loads((own.folder / RECORD).read_text())
    assert record["presets"] == {MODEL: {"name": "mine.yaml", "values": {"width": 2.0}}}
    jobs = {(job["stage"], job["job"]) for job in record["jobs"]}
    assert {("levels", MODEL), ("train", f"{MODEL}/msd_spleen")} <= jobs
    assert "Nothing to be done" in own.run(RECORD, *RUN)


@pytest.mark.long
def test_a_preset_that_changes_between_two_stages_is_not_mixed_in(own):
    """Both stages of a run read one preset; the next run begins with the changed one."""
    set_preset(own, 3)
    module = own.folder / "brightness.py"
    text = module.read_text()
    edit = "    open('mine.yaml', 'w').write('{width: 4}')  # as somebody does meanwhile\n"
    begin = re.compile(r"def find_levels\(.*\n")
    assert begin.search(text)
    module.write_text(begin.sub(lambda found: found[0] + edit, text))
    own.run(TRAINED, *RUN)
    assert (own.folder / "mine.yaml").read_text() == "{width: 4}"
    assert made_with(own) == [3, 3]
    module.write_text(text)
    own.run(TRAINED, *RUN)
    assert made_with(own) == [4, 4]


def test_by_hand_what_is_missing_is_done_and_a_changed_preset_retrains(own):
    command = ("train", "--run", "results/own", "--model", MODEL)
    set_preset(own, 5)
    assert "is there" not in own.satbench(*command)
    assert made_with(own) == [5, 5]
    assert own.satbench(*command).count("is there") == 2
    assert "Nothing to be done" in own.run(TRAINED, *RUN), "the workflow agrees"
    # One stage alone keeps to the preset of the others, whatever the file says now.
    set_preset(own, 6)
    own.satbench(*command, "--stage", "train", "--unit", "msd_spleen")
    assert made_with(own) == [5, 5]
    (own.folder / "other.yaml").write_text("{width: 1}")
    own.satbench(*command, "--preset", "other.yaml")
    assert made_with(own) == [1, 1]
    own.run(TRAINED, *RUN)
    assert made_with(own) == [6, 6], "the configuration's preset"


def test_a_run_that_is_copied_away_predicts_without_the_presets_file(own, tmp_path):
    run = tmp_path / "results" / "own"
    shutil.copytree(own.folder / "results" / "own", run)
    shutil.rmtree(run / "predictions")
    copy = replace(own, folder=tmp_path, started=[])
    copy.satbench(
        "predict", "--run", "results/own", "--model", MODEL, "--dataset", "msd_spleen",
        "--shard", "0",
    )  # fmt: skip
    status = pd.read_csv(RunPaths(run).prediction_shard(MODEL, "msd_spleen", 0))
    assert set(status["status"]) == {"ok"}
