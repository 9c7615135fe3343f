"""Models run over a shard and are measured: statuses, resuming, the three kinds of adapter."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.errors import BenchError
from evaluation.io import Volume, write_volume
from evaluation.measure import measure_shard
from evaluation.models import card as model_cards
from evaluation.models.running import predict_shard
from evaluation.models.templates import write_model_card
from evaluation.paths import RunPaths
from evaluation.segmentation import pack_masks

DATASET = "msd_hippocampus"
PARTS = ("anterior hippocampus", "posterior hippocampus")
LABELS = "{msd_hippocampus: {anterior hippocampus: 1, posterior hippocampus: 2}}"
AFFINE = np.eye(4)


FOLDER = f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {LABELS}\n"


def measured(run: Path) -> pd.DataFrame:
    status = predict_shard(run, "mine", DATASET, 0)
    assert status.is_file()
    return pd.read_parquet(measure_shard(run, "mine", DATASET, 0))


def test_prediction_folder_scores_one_in_both_spaces(run, write_card, write_predictions):
    write_card(FOLDER)
    write_predictions()
    rows = measured(run)
    assert len(rows) == 2 * 3 * 2
    assert set(rows["kind"]) == {"annotated", "union"}
    assert (rows["status"] == "scored").all()
    assert (rows[["dsc", "nsd"]] == 1).all().all()
    resampled = rows.query("space == 'resampled'")
    assert set(resampled["reason"]) == {"tolerance below the voxel spacing"}


def test_missing_and_misplaced_predictions_are_rows_not_gaps(run, write_card, write_predictions):
    write_card(FOLDER)
    write_predictions(["hippocampus_001"])
    bad = Path("predictions/mine") / DATASET / "hippocampus_003.nii.gz"
    write_volume(bad, Volume(np.zeros((3, 3, 3), np.uint8), AFFINE))
    rows = measured(run).query("space == 'native'")
    by_case = rows.groupby("case")["status"].agg(set).to_dict()
    assert by_case["hippocampus_001"] == {"scored"}
    assert by_case["hippocampus_003"] == {"prediction_missing"}
    missing = rows.query("case == 'hippocampus_003'")
    assert missing["reason"].str.contains("grid").all()
    assert (missing["reference_voxels"] > 0).all()
    assert missing["dsc"].isna().all()


def test_uncovered_classes_are_unsupported_with_the_reason(run, write_card, write_predictions):
    write_card(FOLDER.replace(", posterior hippocampus: 2", ""))
    write_predictions()
    rows = measured(run).query("space == 'native'")
    status = rows.groupby("class")["status"].agg(set).to_dict()
    assert status["anterior hippocampus"] == {"scored"}
    assert status["posterior hippocampus"] == {"unsupported"}
    assert status["hippocampus"] == {"unsupported"}


def test_command_adapter_runs_once_and_its_failure_is_the_reason(run, write_card):
    program = Path("model.py")
    program.write_text(
        "import sys, json, pathlib, nibabel, numpy\n"
        "source, target = map(pathlib.Path, sys.argv[1:])\n"
        "request = json.loads((source / 'request.json').read_text())\n"
        "for case in request['cases']:\n"
        "    image = nibabel.load(source / f'{case}.nii.gz')\n"
        "    labels = (numpy.asarray(image.dataobj) // 100).astype('uint8')\n"
        "    nibabel.save(nibabel.Nifti1Image(labels, image.affine), target / f'{case}.nii.gz')\n"
    )
    command = f'["{sys.executable}", "{program}", "{{input}}", "{{output}}"]'
    write_card(f"  kind: command\n  command: {command}\n  labels: {LABELS}\n")
    assert (measured(run)["dsc"] == 1).all()

    command = f'["{sys.executable}", "-c", "1/0", "{{output}}"]'
    write_card(f"  kind: command\n  command: {command}\n", "broken")
    with pytest.raises(BenchError, match=r"failed on all 2 cases(.|\n)*ZeroDivisionError"):
        predict_shard(run, "broken", DATASET, 0)
    status = pd.read_csv(RunPaths(run).prediction_shard("broken", DATASET, 0))
    assert set(status["status"]) == {"failed"}
    assert status["reason"].str.contains("ZeroDivisionError").all()


class Dim:
    """A model that fails on one case."""

    def __init__(self, context) -> None:
        self.context = context

    def classes(self, _dataset):
        return dict.fromkeys([*PARTS, "hippocampus"], None)

    def predict(self, case, classes):
        if case.case == "hippocampus_003":
            raise RuntimeError("out of luck")
        image = case.image()
        masks = dict.fromkeys(classes, image.array > 0)
        from evaluation.cases import Prediction

        return Prediction(pack_masks(masks, image.affine, "direct"))


def test_python_adapter_resumes_and_keeps_going_past_a_failure(run, monkeypatch, write_card):
    Path("own_model.py").write_text("")
    monkeypatch.setitem(sys.modules, "own_model", type(sys)("own_model"))
    sys.modules["own_model"].Dim = Dim
    write_card("  kind: python\n  object: own_model:Dim\n")
    rows = measured(run)
    assert set(rows["kind"]) == {"annotated", "direct", "union"}
    status = pd.read_csv(RunPaths(run).prediction_shard("mine", DATASET, 0))
    assert status.set_index("case")["status"].to_dict() == {
        "hippocampus_001": "ok",
        "hippocampus_003": "failed",
    }
    assert "out of luck" in status["reason"].iloc[1]
    kept = RunPaths(run).prediction("mine", DATASET, "hippocampus_001") / "layer-0.nii.gz"
    before = kept.stat().st_mtime_ns
    predict_shard(run, "mine", DATASET, 0)
    assert kept.stat().st_mtime_ns == before, "a finished case is not predicted again"


def test_killed_measuring_goes_on_from_its_journal(run, monkeypatch, write_card, write_predictions):
    import evaluation.measure as measure

    write_card(FOLDER)
    write_predictions()
    predict_shard(run, "mine", DATASET, 0)
    undisturbed = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    target = RunPaths(run).score_shard("mine", DATASET, 0)
    target.unlink()
    target.with_suffix(".journal.jsonl").unlink()
    original = measure.measure_case
    seen: list[str] = []

    def stop_after_first(m, case):
        if seen:
            raise KeyboardInterrupt
        seen.append(case)
        return original(m, case)

    monkeypatch.setattr(measure, "measure_case", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        measure_shard(run, "mine", DATASET, 0)
    journal = target.with_suffix(".journal.jsonl")
    journal.write_text(journal.read_text() + '{"made_from": "half a li')
    monkeypatch.setattr(
        measure, "measure_case", lambda m, case: seen.append(case) or original(m, case)
    )
    again = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    assert seen == ["hippocampus_001", "hippocampus_003"], "the first case is not measured twice"
    pd.testing.assert_frame_equal(again, undisturbed)
    measure_shard(run, "mine", DATASET, 0)
    assert len(seen) == 2, "rows of the same masks and settings are kept"


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("  kind: prediction-folder\n  folder: nowhere\n", "no such folder"),
        ("  kind: python\n  object: no_such_module:Model\n", "cannot import"),
        (FOLDER.replace("posterior", "posteriour"), "name classes that the entry has not"),
        ('  kind: command\n  command: [python, my.py, "{in}", "{out}"]\n', "where to answer"),
    ],
)
def test_unusable_cards_are_explained(run, adapter, message, write_card, write_predictions):
    write_predictions()
    write_card(adapter)
    with pytest.raises(BenchError, match=message):
        predict_shard(run, "mine", DATASET, 0)


@pytest.mark.parametrize("name", ["my-unet", "123", "1.5", "on", "1e5"])
@pytest.mark.usefixtures("run")
def test_template_is_a_valid_card_and_is_not_overwritten(name):
    path = write_model_card(name)
    card = model_cards.find_model(name)
    assert (card.id, card.title, card.adapter.folder) == (name, name, f"predictions/{name}")
    with pytest.raises(BenchError, match="already"):
        write_model_card(name)
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("My UNet", "my-unet"),
        ("../../escaped", "escaped"),
        ("über--Netz", "uber-netz"),
        ("my-unet\n", "my-unet"),
        ("", "my-model"),
    ],
)
def test_template_is_not_written_under_a_name_that_is_no_id(run, name, suggestion):
    before = sorted(run.parents[1].rglob("*"))
    with pytest.raises(BenchError, match=rf"lower-case(.|\n)*use `{suggestion}`"):
        write_model_card(name)
    assert sorted(run.parents[1].rglob("*")) == before


def test_unknown_card_key_is_named_with_a_suggestion(run, write_card):
    write_card(FOLDER + "licens: MIT\n")
    with pytest.raises(BenchError, match="did you mean `licence`"):
        predict_shard(run, "mine", DATASET, 0)
