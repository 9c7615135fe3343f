"""Models run over a shard and are measured: statuses, resuming, the three kinds of adapter."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from evaluation.cases import Prediction, read_case_record, read_reference, write_case
from evaluation.config import freeze, load_frozen
from evaluation.errors import BenchError
from evaluation.files.identity import ask_again
from evaluation.files.progress import duration
from evaluation.models import card as model_cards
from evaluation.models.running import predict_shard, read_status
from evaluation.models.templates import write_model_card
from evaluation.paths import RunPaths
from evaluation.schema import INSTANCES, LESION_VOLUMES, read_table
from evaluation.scoring.shards import measure_shard
from evaluation.tables.run_tables import aggregate_run
from evaluation.volumes.image_files import Volume, read_volume, write_volume
from evaluation.volumes.segmentation import pack_masks

DATASET = "msd_hippocampus"
CASES = ("hippocampus_001", "hippocampus_003")
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
        return answer(self, case, classes)


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
    from evaluation.scoring import shards

    write_card(FOLDER)
    write_predictions()
    predict_shard(run, "mine", DATASET, 0)
    undisturbed = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    target = RunPaths(run).score_shard("mine", DATASET, 0)
    for path in target.parent.iterdir():
        path.unlink()
    original = shards.pairs_of
    seen: list[str] = []

    def stop_after_first(m, case):
        if seen:
            raise KeyboardInterrupt
        seen.append(case)
        return original(m, case)

    monkeypatch.setattr(shards, "pairs_of", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        measure_shard(run, "mine", DATASET, 0)
    journal = target.with_suffix(".journal.jsonl")
    journal.write_text(journal.read_text() + '{"made_from": "half a li')
    monkeypatch.setattr(shards, "pairs_of", lambda m, case: seen.append(case) or original(m, case))
    again = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    assert seen == ["hippocampus_001", "hippocampus_003"], "the first case is not measured twice"
    pd.testing.assert_frame_equal(again, undisturbed)
    measure_shard(run, "mine", DATASET, 0)
    assert len(seen) == 2, "rows of the same masks and settings are kept"


def test_a_run_counts_one_by_one_what_its_card_says(run, write_card, write_predictions):
    """Lesions, and here the two parts of an organ; the others have no such values."""
    from evaluation.datasets.regions import counted_one_by_one
    from evaluation.datasets.registry import find_card

    assert counted_one_by_one(find_card("msd_liver")) == {"liver tumor"}
    write_card(FOLDER)
    write_predictions()
    predict_shard(run, "mine", DATASET, 0)
    config = load_frozen(run).model_copy(update={"metrics": ["dsc", "hd95", "lesion_f1"]})
    freeze(config, RunPaths(run).config)
    card = find_card(DATASET)
    parts = [c.model_copy(update={"instances": c.name == PARTS[0]}) for c in card.classes]
    with pytest.MonkeyPatch.context() as patch:
        changed = card.model_copy(update={"classes": tuple(parts)})
        patch.setattr("evaluation.scoring.shards.find_card", lambda _: changed)
        rows = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    counted = rows[rows["lesion_f1"].notna()]
    assert set(counted["class"]) == {PARTS[0]}
    assert (rows[["dsc", "hd95"]] == [1, 0]).all().all()
    single = pd.read_parquet(RunPaths(run).instance_shard("mine", DATASET, 0))
    assert set(single["class"]) == {PARTS[0]}
    assert set(single["model"]) == {"mine"}
    assert single["detected"].all()
    aggregate_run(run, n_draws=2)
    joined = read_table(RunPaths(run).instances("mine", DATASET), INSTANCES)
    shard = RunPaths(run).instance_shard("mine", DATASET, 0)
    pd.testing.assert_frame_equal(joined, read_table(shard, INSTANCES))
    table = read_table(RunPaths(run).table("lesion_volumes"), LESION_VOLUMES)
    native = table[table["space"] == "native"].set_index("from_ml")
    # Both references have one part of 4 x 5 x 5 voxels.
    assert native["n_lesions"].to_dict() == {0: 0, 0.01: 0, 0.1: 2, 1: 0, 10: 0}
    assert native.loc[0.1, ["n_detected", "recall"]].tolist() == [2, 1]
    assert native["recall"].isna().sum() == 4


def test_single_lesions_of_all_shards_are_joined_and_sorted_by_volume(
    run, write_card, write_predictions
):
    write_card(FOLDER)
    write_predictions()
    second = Path("predictions/mine") / DATASET / "hippocampus_003.nii.gz"
    labels = read_volume(second).array
    write_volume(second, Volume(np.where(labels == 1, 0, labels).astype(np.uint8), AFFINE))
    settings = {"metrics": ["dsc", "lesion_f1"], "shard_size": 1, "space": ["native"]}
    freeze(load_frozen(run).model_copy(update=settings), RunPaths(run).config)
    from evaluation.datasets.registry import find_card

    card = find_card(DATASET)
    parts = [c.model_copy(update={"instances": c.name == PARTS[0]}) for c in card.classes]
    with pytest.MonkeyPatch.context() as patch:
        changed = card.model_copy(update={"classes": tuple(parts)})
        patch.setattr("evaluation.scoring.shards.find_card", lambda _: changed)
        for shard in (0, 1):
            predict_shard(run, "mine", DATASET, shard)
            measure_shard(run, "mine", DATASET, shard)
    aggregate_run(run, n_draws=2)
    joined = read_table(RunPaths(run).instances("mine", DATASET), INSTANCES)
    assert dict(zip(joined["case"], joined["detected"], strict=True)) == {
        "hippocampus_001": True,
        "hippocampus_003": False,
    }
    table = read_table(RunPaths(run).table("lesion_volumes"), LESION_VOLUMES)
    assert table["n_lesions"].sum() == 2
    assert table["n_detected"].sum() == 1


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


MODULE = """
from evaluation.cases import Prediction
from evaluation.volumes.segmentation import pack_masks

LEAST = 0


class Model:
    def __init__(self, context):
        self.least = context.options.get("least", LEAST)

    def classes(self, dataset):
        return {"anterior hippocampus": None, "posterior hippocampus": None}

    def predict(self, case, classes):
        image = case.image()
        masks = dict.fromkeys(classes, image.array > self.least)
        return Prediction(pack_masks(masks, image.affine, "direct"))
"""


@pytest.fixture
def module(run, monkeypatch) -> Path:
    """A module of the user's own in the folder where the work is done."""
    monkeypatch.syspath_prepend(run.parents[1])
    monkeypatch.delitem(sys.modules, "users_module", raising=False)
    path = Path("users_module.py")
    path.write_text(MODULE)
    return path


def rewrite(run: Path, case: str, *, image=None, labels=None) -> None:
    """Standardise a case anew with another voxel in its image or in its first layer."""
    folder = RunPaths(run).case(DATASET, case)
    record, reference = read_reference(folder)
    volume = read_volume(folder / "image.nii.gz")
    if image is not None:
        volume.array[0, 0, 0] = image
    if labels is not None:
        reference.layers[0][5, 5, 5] = labels
    write_case(folder, volume, reference, record)


def times(run: Path, model: str) -> dict[str, int]:
    folder = RunPaths(run).prediction(model, DATASET, "x").parent
    return {p.parent.name: p.stat().st_mtime_ns for p in folder.glob("*/prediction.json")}


def predicted_anew(run: Path, model: str = "mine") -> set[str]:
    """The cases whose prediction is made again."""
    before = times(run, model)
    predict_shard(run, model, DATASET, 0)
    return {case for case, time in times(run, model).items() if before.get(case) != time}


def configured(run: Path, **values) -> None:
    path = RunPaths(run).config
    freeze(load_frozen(run).model_copy(update=values), path)


ALL, NONE = set(CASES), set()


def test_a_prediction_belongs_to_image_card_file_and_classes(run, write_card, write_predictions):
    """What changes, and the cases that are then predicted again; every time once."""
    write_card(FOLDER)
    write_predictions()
    file = Path("predictions/mine") / DATASET / f"{CASES[0]}.nii.gz"
    card = Path("config/models/mine.yaml")

    def edit(old: str, new: str) -> None:
        text = card.read_text()
        assert old in text
        card.write_text(text.replace(old, new))

    def other_file() -> None:
        content = nib.load(file)
        labels = np.asarray(content.dataobj).copy()
        labels[0, 0, 0] = 1
        write_volume(file, Volume(labels, content.affine))

    changes = {
        "the first time": (lambda: None, ALL),
        "nothing": (lambda: None, NONE),
        "image": (lambda: rewrite(run, CASES[0], image=7), {CASES[0]}),
        "labels": (lambda: rewrite(run, CASES[1], labels=0), NONE),
        "written anew": (lambda: rewrite(run, CASES[1]), NONE),
        "file": (other_file, {CASES[0]}),
        "file touched": (file.touch, NONE),
        "values exchanged": (
            lambda: edit("hippocampus: 1, posterior hippocampus: 2", SWAPPED),
            ALL,
        ),
        "and corrected": (
            lambda: edit(SWAPPED, "hippocampus: 1, posterior hippocampus: 2"),
            ALL,
        ),
        "values of another entry": (
            lambda: edit("{msd_hippocampus", "{acdc: {myocardium: 1}, msd_hippocampus"),
            NONE,
        ),
        "prose": (lambda: edit("title: Mine", "title: Yours"), NONE),
        "version": (lambda: card.write_text(card.read_text() + 'version: "1.1"\n'), ALL),
        "classes": (lambda: configured(run, classes={DATASET: [PARTS[0]]}), ALL),
        "shards": (lambda: configured(run, shard_size=7, tolerance_mm=[3.0]), NONE),
    }
    for name, (change, expected) in changes.items():
        change()
        assert predicted_anew(run) == expected, name
        assert predicted_anew(run) == NONE, f"{name}, again"


SWAPPED = "hippocampus: 2, posterior hippocampus: 1"


def test_an_object_of_the_users_belongs_to_its_module_and_options(run, module, write_card):
    write_card("  kind: python\n  object: users_module:Model\n")
    assert predicted_anew(run) == ALL
    module.touch()
    assert predicted_anew(run) == NONE
    module.write_text(MODULE.replace("LEAST = 0", "LEAST = 5"))
    assert predicted_anew(run) == ALL
    Path("a.pt").write_text("1")
    write_card("  kind: python\n  object: users_module:Model\n  options: {least: 3, w: a.pt}\n")
    assert predicted_anew(run) == ALL
    Path("a.pt").write_text("2")
    assert predicted_anew(run) == ALL
    rewrite(run, CASES[0], labels=0)
    assert predicted_anew(run) == NONE


def test_a_command_belongs_to_its_words_and_the_files_they_name(run, write_card):
    program = Path("model.py")
    program.write_text(
        "import sys, pathlib, nibabel\n"
        "source, target = map(pathlib.Path, sys.argv[1:3])\n"
        "for path in source.glob('*.nii.gz'):\n"
        "    image = nibabel.load(path)\n"
        "    labels = (image.get_fdata() // 100).astype('uint8')\n"
        "    nibabel.save(nibabel.Nifti1Image(labels, image.affine), target / path.name)\n"
    )
    words = f'"{sys.executable}", "{program}", "{{input}}", "{{output}}"'
    adapter = f"  kind: command\n  command: [{words}]\n  labels: {LABELS}\n"
    write_card(adapter)
    assert predicted_anew(run) == ALL
    write_card(adapter + "  timeout_s: 77\n")
    assert predicted_anew(run) == NONE
    program.write_text(program.read_text() + "# another\n")
    assert predicted_anew(run) == ALL
    write_card(adapter.replace('"{output}"', '"{output}", "--fast"'))
    assert predicted_anew(run) == ALL
    rewrite(run, CASES[1], image=9)
    assert predicted_anew(run) == {CASES[1]}


def test_the_oracle_belongs_to_the_reference(run):
    assert predicted_anew(run, "oracle") == ALL
    rewrite(run, CASES[1], labels=0)
    assert predicted_anew(run, "oracle") == {CASES[1]}


@pytest.mark.parametrize("model", ["threshold", "mean-map"])
def test_a_fitted_control_belongs_to_the_training_cases(run, model):
    def split() -> None:
        records = [read_case_record(RunPaths(run).case(DATASET, name)) for name in CASES]
        sides = ("train", "test")
        rows = [
            f"{r.case},{r.case},{side},{r.image},{r.labels}"
            for r, side in zip(records, sides, strict=True)
        ]
        text = "\n".join(["case,patient,split,image,labels", *rows]) + "\n"
        RunPaths(run).split(DATASET).write_text(text)

    split()
    assert predicted_anew(run, model) == {CASES[1]}
    fitted = next(RunPaths(run).model_run(model).glob(f"{DATASET}.*"))
    before = fitted.stat().st_mtime_ns
    rewrite(run, CASES[1], labels=0)
    split()
    assert predicted_anew(run, model) == NONE
    rewrite(run, CASES[0], labels=0)
    split()
    assert predicted_anew(run, model) == {CASES[1]}
    assert fitted.stat().st_mtime_ns > before


def test_a_case_that_failed_is_tried_again_and_only_that(run, monkeypatch, write_card):
    monkeypatch.setitem(sys.modules, "own_model", type(sys)("own_model"))
    sys.modules["own_model"].Dim = Dim
    write_card("  kind: python\n  object: own_model:Dim\n")
    assert predicted_anew(run) == {CASES[0]}
    monkeypatch.setattr(Dim, "predict", answer)
    assert predicted_anew(run) == {CASES[1]}
    status = read_status(RunPaths(run).prediction_shard("mine", DATASET, 0))
    assert {(row.status, bool(row.made_from), bool(row.masks)) for row in status} == {
        ("ok", True, True)
    }


def answer(_model: Dim, case, classes):
    image = case.image()
    masks = dict.fromkeys(classes, image.array > 0)
    return Prediction(pack_masks(masks, image.affine, "direct"))


def test_what_is_forced_is_made_again_once(run, write_card, write_predictions):
    write_card(FOLDER)
    write_predictions()
    assert predicted_anew(run) == ALL
    status = RunPaths(run).prediction_shard("mine", DATASET, 0)
    ask_again(status)
    # A kill has left the first case made since then.
    record = RunPaths(run).prediction("mine", DATASET, CASES[0]) / "prediction.json"
    later = time.time_ns() + 10**9
    os.utime(record, ns=(later, later))
    assert predicted_anew(run) == {CASES[1]}
    assert predicted_anew(run) == NONE


def test_rows_belong_to_both_masks_and_the_settings(run, monkeypatch, write_card):
    """What changes, and the cases that are then measured again."""
    from evaluation.scoring import shards

    original, seen = shards.pairs_of, set()
    monkeypatch.setattr(shards, "pairs_of", lambda m, c: seen.add(c) or original(m, c))

    def measured_anew() -> set[str]:
        seen.clear()
        predict_shard(run, "shifted", DATASET, 0)
        rows = pd.read_parquet(measure_shard(run, "shifted", DATASET, 0))
        assert list(dict.fromkeys(rows["case"])) == list(CASES)
        return set(seen)

    def killed_while_writing() -> None:
        target = RunPaths(run).score_shard("shifted", DATASET, 0)
        target.unlink()
        journal = target.with_suffix(shards.JOURNAL)
        journal.write_text(journal.read_text()[:-9])

    def renamed_shards() -> None:
        folder = RunPaths(run).score_shard("shifted", DATASET, 0).parent
        for path in folder.iterdir():
            path.rename(folder / path.name.replace("0", "5", 1))

    changes = {
        "the first time": (lambda: None, ALL),
        "nothing": (lambda: None, NONE),
        "image": (lambda: rewrite(run, CASES[0], image=7), NONE),
        "reference and answer": (lambda: rewrite(run, CASES[1], labels=0), {CASES[1]}),
        "tolerance": (lambda: configured(run, tolerance_mm=[2.0]), ALL),
        "tolerances": (lambda: configured(run, tolerance_mm=[1.0, 2.0]), ALL),
        "space": (lambda: configured(run, space=["native"]), ALL),
        "models": (lambda: configured(run, models=["shifted", "oracle"]), NONE),
        "classes": (lambda: configured(run, classes={DATASET: [PARTS[1]]}), ALL),
        "killed": (killed_while_writing, {CASES[1]}),
        "other shards": (renamed_shards, NONE),
        "forced": (lambda: ask_again(RunPaths(run).score_shard("shifted", DATASET, 0)), ALL),
    }
    for name, (change, expected) in changes.items():
        change()
        assert measured_anew() == expected, name
        assert measured_anew() == NONE, f"{name}, again"


def test_a_log_says_how_far_a_prediction_is(run, write_card, write_predictions, capsys):
    """In the same words for any model: what is left, each case with its seconds, what failed."""
    write_card(FOLDER)
    write_predictions(["hippocampus_003"])
    predict_shard(run, "mine", DATASET, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mine on msd_hippocampus: cases: 2 to do"
    assert re.fullmatch(
        r"mine on msd_hippocampus: 1 of 2, hippocampus_001 in [0-9.]+ s \(failed\); "
        r"about [0-9.]+ s left",
        lines[1],
    )
    assert re.fullmatch(r"\S+ on \S+: 2 of 2, hippocampus_003 in [0-9.]+ s", lines[2])
    write_predictions()
    predict_shard(run, "mine", DATASET, 0)
    assert "cases: 1 to do, 1 done before" in capsys.readouterr().err


def test_durations_are_said_in_units_that_fit():
    assert [duration(s) for s in (0.04, 89.9, 91, 3570, 4800)] == [
        "0.0 s", "89.9 s", "2 min", "1 h 0 min", "1 h 20 min",
    ]  # fmt: skip
