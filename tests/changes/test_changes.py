"""A run is changed in many ways; each time it equals a fresh run of what is declared then.

Each step starts where the one before has ended: its change, the same command as ever, and then
(1) the command succeeds, (2) the tables are those of a fresh run, (3) what had to be was made
again and nothing else, (4) the next command has nothing to do.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from evaluation.datasets.phantoms import write_patient

from .place import (
    CONFIG,
    NAME,
    ROOT,
    RUN,
    FreshRuns,
    Place,
    artefacts,
    make_place,
    matching,
    other_voxel,
    require_board,
    require_same_tables,
)

pytestmark = [pytest.mark.changes, pytest.mark.timeout(3000)]


@dataclass(frozen=True)
class Step:
    """A change, and the names (with stars) of the artefacts that are then made anew.

    `perhaps` are rows whose masks may come out as they were, `gone` what is no longer declared
    and leaves the files of what is.
    """

    title: str
    change: Callable[[Place], object] = lambda _: None
    anew: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


@pytest.fixture(scope="session")
def fresh(tmp_path_factory, new_clone) -> FreshRuns:
    return FreshRuns(tmp_path_factory.mktemp("fresh"), new_clone)


def take(place: Place, fresh: FreshRuns, step: Step) -> None:
    """Take a step and look at everything."""
    before = artefacts(place.run)
    step.change(place)
    place.snakemake(*step.arguments)
    after = artefacts(place.run)
    anew = {name for name, state in after.items() if before.get(name) != state}
    expected = matching(after, step.anew)
    assert all(matching(after, [pattern]) for pattern in step.anew), "a pattern fits nothing"
    unasked = sorted(anew - expected - matching(after, step.perhaps))
    assert (unasked, sorted(expected - anew)) == ([], []), "made without need; kept wrongly"
    assert before.keys() - after.keys() == matching(before.keys() - after.keys(), step.gone)
    assert "Nothing to be done" in place.snakemake()
    require_same_tables(place, fresh.of(place))
    require_board(place)


def steps(*values: Step) -> Any:
    return pytest.mark.parametrize("step", values, ids=lambda step: step.title)


def configure(**values: Any) -> Callable[[Place], None]:
    return lambda place: place.configure(**values)


def all_of(*changes: Callable[[Place], object]) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        for one in changes:
            one(place)

    return change


def edit(file: str, old: str, new: str) -> Callable[[Place], None]:
    return lambda place: place.replace(file, old, new)


# Cheap models: what is declared, and how it is cut into jobs.

CHEAP = {
    "name": NAME,
    "study": "sat",
    "data_kind": "synthetic",
    "raw_root": f"results/{NAME}/raw",
    "cohort": {"patients": 4, "test_patients": 2},
    "entries": ["msd_spleen", "acdc"],
    "models": ["oracle", "threshold", "shifted"],
    "shard_size": 50,
    "space": ["native"],
    "tolerance_mm": [1.0],
    "seed": 0,
}


@pytest.fixture(scope="module")
def declared(tmp_path_factory, new_clone) -> Place:
    """A synthetic run of controls."""
    place = Place(make_place(tmp_path_factory.mktemp("declared") / "a clone", new_clone))
    (place.folder / CONFIG).write_text(yaml.safe_dump(CHEAP, sort_keys=False))
    place.snakemake()
    return place


def touched(place: Place) -> None:
    raw = place.folder / place.config["raw_root"]
    files = [path for path in raw.rglob("*.nii.gz") if path.is_file()]
    assert files
    for path in files:
        path.touch()


def without(name: str) -> Callable[[Place], None]:
    return lambda place: shutil.rmtree(place.run / name)


FORCED = ("--forcerun",)


@steps(
    Step("tolerance", configure(tolerance_mm=[2.0]), anew=("rows/*",)),
    Step(
        "tolerances and spaces",
        configure(tolerance_mm=[1.0, 3.0], space=["native", "resampled"]),
        anew=("rows/*",),
    ),
    Step("shard size down", configure(shard_size=1)),
    Step("shard size up", configure(shard_size=3)),
    Step(
        "order of models and entries",
        configure(models=["shifted", "oracle", "threshold"], entries=["acdc", "msd_spleen"]),
    ),
    Step("files touched", touched),
    Step("predictions deleted", without("predictions/threshold"), anew=("prediction/threshold/*",)),
    Step("a model dropped", configure(models=["oracle", "threshold"])),
    Step("an entry dropped", configure(entries=["msd_spleen"])),
    Step(
        "both added again, and one more",
        configure(models=["mean-map", *CHEAP["models"]], entries=CHEAP["entries"]),
        anew=("prediction/mean-map/*", "rows/mean-map/*"),
    ),
    Step("standardise forced", arguments=(*FORCED, "standardise"), anew=("case/*",)),
    Step("predict forced", arguments=(*FORCED, "predict"), anew=("prediction/*",)),
    Step(
        "a class fewer",
        configure(classes={"acdc": ["-myocardium"]}),
        anew=("case/acdc/*", "prediction/*/acdc/*", "rows/*/acdc/*", "fitted/acdc"),
    ),
    Step(
        # The last two are for testing: one of them goes over to the training cases.
        "one virtual patient more",
        configure(cohort={"patients": 5, "test_patients": 2}),
        anew=(
            "case/*5",
            "case/*5_*",
            "fitted/*",
            "prediction/*/spleen_5",
            "prediction/*/patient005_*",
            "prediction/threshold/*/spleen_4",
            "prediction/threshold/*/patient004_*",
            "prediction/mean-map/*/spleen_4",
            "prediction/mean-map/*/patient004_*",
            "rows/*/spleen_5",
            "rows/*/patient005_*",
        ),
        perhaps=("rows/threshold/*", "rows/mean-map/*"),
        gone=("rows/*/spleen_3", "rows/*/patient003_*"),
    ),
    Step(
        "seed",
        configure(seed=1),
        anew=(
            "case/*",
            "fitted/*",
            *(f"*/*/*/{case}" for case in ("spleen_[45]", "patient00[45]_*")),
        ),
    ),
)
def test_what_is_declared(declared, fresh, step):
    take(declared, fresh, step)


def test_measure_forced_measures_again(declared, fresh):
    """A row that somebody has changed by hand is found again after this and no other command."""
    journals = sorted((declared.run / "scores").glob("*/acdc/shards/*.jsonl"))
    texts = {path: path.read_text() for path in journals}
    for path, text in texts.items():
        path.write_text(text.replace('"dsc": ', '"dsc": 0.5, "x": '))
        assert path.read_text() != text
    take(declared, fresh, Step("measure forced", arguments=(*FORCED, "measure")))
    assert {path: path.read_text() for path in journals} == texts


def test_killed_at_random_moments(declared, fresh):
    """From nothing, killed again and again, with one process or all of them left behind."""
    place = replace(declared, clone=replace(declared.clone, started=[]))
    shutil.rmtree(place.run)
    moments = random.Random(14)
    for number in range(5):
        process = place.clone.start(*RUN)
        time.sleep(moments.uniform(5, 25))
        if number % 2:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    place.snakemake()
    assert "Nothing to be done" in place.snakemake()
    require_same_tables(place, fresh.of(place))
    require_board(place)


def copied(place: Place, folder: Path, copy: Callable[..., object]) -> Place:
    """The whole clone in another place."""
    shutil.copytree(place.folder, folder, copy_function=copy, symlinks=True)
    environment = {**place.clone.environment, "PYTHONPATH": f"{ROOT}:{folder / 'code'}"}
    return Place(replace(place.clone, folder=folder, environment=environment, started=[]))


def test_a_clone_copied_away_goes_on(declared, fresh, tmp_path):
    """`cp -r` keeps no times: all files look new, and nothing is made again."""
    place = copied(declared, tmp_path / "another place", shutil.copyfile)
    take(place, fresh, Step("copied"))


def test_a_run_moved_without_the_records_of_snakemake(declared, fresh, tmp_path):
    """Moved to another clone with its times, raw root and all; then the settings change."""
    place = copied(declared, tmp_path / "clone", shutil.copy2)
    shutil.rmtree(place.folder / ".snakemake")
    old, new = place.config["raw_root"], f"results/{NAME}/moved"
    (place.folder / old).rename(place.folder / new)
    place.configure(raw_root=new)
    take(place, fresh, Step("moved"))
    shutil.rmtree(place.folder / ".snakemake")
    place.configure(tolerance_mm=[4.0])
    take(place, fresh, Step("tolerance", anew=("rows/*",)))
    shutil.rmtree(place.folder / ".snakemake")
    step = Step("seed", configure(seed=2), anew=("case/*", "fitted/*"), perhaps=("*",))
    take(place, fresh, step)


# Models of every kind on raw files of a user's own.

REAL = {
    "name": NAME,
    "study": "sat",
    "data_kind": "real",
    "raw_root": "raw",
    "entries": ["msd_spleen", "acdc"],
    "models": ["sat-nano", "oracle", "threshold", "my-folder", "my-command", "my-object"],
    "presets": {"sat-nano": "smoke"},
    "shard_size": 300,
    "space": ["native", "resampled"],
    "tolerance_mm": [1.0],
    "seed": 0,
}
SPLEEN, HEART = "raw/MSD_Spleen/Task09_Spleen", "raw/ACDC/database/training"
LABELS = {
    "msd_spleen": {"spleen": 1},
    "acdc": {"right ventricle cavity": 1, "myocardium": 2, "left ventricle cavity": 3},
}
EXCHANGED = ("{right ventricle cavity: 1,", "{right ventricle cavity: 3,")
ADAPTERS = {
    "my-folder": {"kind": "prediction-folder", "folder": "predictions/my-folder"},
    "my-command": {
        "kind": "command",
        "command": [sys.executable, "code/command.py", "60", "{input}", "{output}"],
    },
    "my-object": {
        "kind": "python",
        "object": "my_model:Model",
        "options": {"checkpoint": "weights/level.txt"},
    },
}
COMMAND = """\
import pathlib, sys, nibabel, numpy

level = float(sys.argv[1])
source, target = map(pathlib.Path, sys.argv[2:])
for path in source.glob("*.nii.gz"):
    image = nibabel.load(path)
    values = image.get_fdata()
    edges = numpy.percentile(values, [level, level + 15, level + 30])
    labels = numpy.digitize(values, edges).astype("uint8")
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), target / path.name)
"""
MODULE = """\
import pathlib

import numpy as np
from evaluation.cases import Prediction
from evaluation.datasets.registry import find_card
from evaluation.volumes.segmentation import pack_masks

SHARE = 1.0


class Model:
    def __init__(self, context):
        self.level = float(pathlib.Path(context.options["checkpoint"]).read_text())

    def classes(self, dataset):
        return {c.name: None for c in find_card(dataset).annotated}

    def predict(self, case, classes):
        refuse(case)
        image = case.image()
        mask = image.array > np.percentile(image.array, self.level * SHARE)
        return Prediction(pack_masks(dict.fromkeys(classes, mask), image.affine, "direct"))


def refuse(case):
    pass
"""


def write_spleen(place: Place, number: int) -> None:
    write_patient("msd_spleen", place.folder / "raw", number - 1, 0)


def write_heart(place: Place, number: int) -> None:
    """The first frame of a patient; the list has other numbers for the second one."""
    write_patient("acdc", place.folder / "raw", number - 1, 0)
    for path in (place.folder / HEART / f"patient{number:03d}").glob("*_frame*"):
        if "_frame01" not in path.name:
            path.unlink()


def label(dataset: str, case: str) -> str:
    if dataset == "msd_spleen":
        return f"{SPLEEN}/labelsTr/{case}.nii.gz"
    return f"{HEART}/{case.partition('_')[0]}/{case}_gt.nii.gz"


def write_answer(place: Place, dataset: str, case: str) -> None:
    """A perfect prediction, made elsewhere."""
    target = place.folder / "predictions/my-folder" / dataset / f"{case}.nii.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place.folder / label(dataset, case), target)


@pytest.fixture(scope="module")
def users(tmp_path_factory, new_clone) -> Place:
    """A run on raw files, with SAT-Nano, controls, and models of the user's own."""
    place = Place(make_place(tmp_path_factory.mktemp("users") / "clone", new_clone))
    for number in (2, 3, 6, 19):
        write_spleen(place, number)
    for number in (1, 2, 101):
        write_heart(place, number)
    for dataset, case in (
        ("msd_spleen", "spleen_6"),
        ("msd_spleen", "spleen_19"),
        ("acdc", "patient101_frame01"),
    ):
        write_answer(place, dataset, case)
    for name, adapter in ADAPTERS.items():
        labels = {} if name == "my-object" else {"labels": LABELS}
        prose = dict.fromkeys(("description", "citation", "licence"), "x")
        card = {"id": name, "title": name.upper(), **prose, "adapter": {**adapter, **labels}}
        path = place.folder / "config/models" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=999))
    for name, text in {
        "code/command.py": COMMAND,
        "code/my_model.py": MODULE,
        "weights/level.txt": "70",
        CONFIG: yaml.safe_dump(REAL, sort_keys=False),
    }.items():
        (place.folder / name).parent.mkdir(exist_ok=True)
        (place.folder / name).write_text(text)
    place.snakemake()
    return place


def made(model: str, dataset: str = "*", case: str = "*") -> tuple[str, str]:
    return f"prediction/{model}/{dataset}/{case}", f"rows/{model}/{dataset}/{case}"


def voxel(file: str, label: int | None = None) -> Callable[[Place], None]:
    return lambda place: other_voxel(place.folder / file, label)


def remove(file: str) -> Callable[[Place], None]:
    return lambda place: (place.folder / file).unlink()


def by_hand(place: Place) -> None:
    """The step that makes cases, as somebody calls it who has repaired a file."""
    arguments = ("--run", f"results/{NAME}", "--dataset", "msd_spleen", "--shard", "0")
    place.clone.satbench("standardise", *arguments)


def another_preset(place: Place) -> None:
    """The user's own, in a file."""
    text = (ROOT / "sat/presets/smoke.yaml").read_text()
    (place.folder / "config/other.yaml").write_text(text.replace("steps: 20", "steps: 12"))
    place.configure(presets={"sat-nano": "config/other.yaml"})


CARD = "config/models/{}.yaml"
SWAPPED = "right ventricle cavity: 3, myocardium: 2, left ventricle cavity: 1"
STRAIGHT = "right ventricle cavity: 1, myocardium: 2, left ventricle cavity: 3"
TRAINED = ("training/sat-nano", "checkpoint/sat-nano", *made("sat-nano"))


@steps(
    Step(
        "values of a card exchanged, a script and a module changed",
        all_of(
            edit(CARD.format("my-folder"), STRAIGHT, SWAPPED),
            edit("code/command.py", "level + 15", "level + 10"),
            edit("code/my_model.py", "SHARE = 1.0", "SHARE = 0.9"),
        ),
        anew=(*made("my-folder", "acdc"), *made("my-command"), *made("my-object")),
    ),
    Step(
        "card corrected, version raised, checkpoint replaced",
        all_of(
            edit(CARD.format("my-folder"), SWAPPED, STRAIGHT),
            edit(CARD.format("my-command"), "licence:", "version: 2\nlicence:"),
            edit("weights/level.txt", "70", "75"),
        ),
        anew=(
            *made("my-folder", "acdc"),
            "prediction/my-command/*",
            *made("my-object"),
        ),
    ),
    Step(
        "a word of a command, the files of one case",
        all_of(
            edit(CARD.format("my-command"), "'60'", "'50'"),
            voxel("predictions/my-folder/msd_spleen/spleen_6.nii.gz", 1),
        ),
        anew=(*made("my-folder", "msd_spleen", "spleen_6"), *made("my-command")),
    ),
    Step(
        "labels of a test case",
        voxel(label("acdc", "patient101_frame01"), 2),
        anew=(
            "case/acdc/patient101_frame01",
            "prediction/oracle/acdc/patient101_frame01",
            "rows/*/acdc/patient101_frame01",
        ),
    ),
    Step(
        "labels of a test case, standardised by hand",
        all_of(voxel(label("msd_spleen", "spleen_19"), 1), by_hand),
        anew=(
            "case/msd_spleen/spleen_19",
            "prediction/oracle/msd_spleen/spleen_19",
            "rows/*/msd_spleen/spleen_19",
        ),
    ),
    Step(
        "labels of a training case",
        voxel(label("msd_spleen", "spleen_2"), 1),
        anew=(
            "case/msd_spleen/spleen_2",
            "prepared/sat-nano/msd_spleen/spleen_2",
            "fitted/msd_spleen",
            "prediction/threshold/msd_spleen/*",
            *TRAINED,
        ),
        perhaps=("rows/threshold/msd_spleen/*",),
    ),
    Step(
        "image of a test case, and one more raw case",
        all_of(
            voxel(f"{SPLEEN}/imagesTr/spleen_6.nii.gz"),
            lambda place: write_spleen(place, 25),
            lambda place: write_answer(place, "msd_spleen", "spleen_25"),
        ),
        anew=(
            "case/msd_spleen/spleen_6",
            "prediction/*/msd_spleen/spleen_6",
            "case/msd_spleen/spleen_25",
            *made("*", "msd_spleen", "spleen_25"),
        ),
        perhaps=("rows/*/msd_spleen/spleen_6",),
    ),
    # Rows change with the masks: two seeds cannot show the same scores.
    Step("seed of the training", configure(seed=1), anew=TRAINED),
    Step("preset", another_preset, anew=TRAINED),
    Step("training forced", arguments=(*FORCED, "train_sat"), anew=("training/sat-nano",)),
    Step(
        "a raw case removed",
        all_of(
            *(remove(f"{SPLEEN}/{folder}/spleen_25.nii.gz") for folder in ("imagesTr", "labelsTr"))
        ),
        gone=("rows/*/spleen_25",),
    ),
)
def test_what_a_user_has(users, fresh, step):
    take(users, fresh, step)


def test_a_case_that_failed_is_tried_again(users, fresh):
    """Until the model can do it; one that can do none of its cases stops the workflow."""
    stop = 'if case.case == "spleen_6" and not pathlib.Path("mended").exists(): raise ValueError(1)'
    users.replace("code/my_model.py", "    pass\n", f"    {stop}\n")
    said = users.snakemake()
    assert "my-object on msd_spleen: 1 of 2 cases failed" in said
    rows = pd.read_parquet(users.run / "scores/my-object/msd_spleen.parquet")
    assert set(rows.query("case == 'spleen_6'")["status"]) == {"prediction_missing"}
    assert "1 of 2 cases failed" in users.snakemake()
    (users.folder / "mended").write_text("")
    case = made("my-object", "msd_spleen", "spleen_6")
    take(users, fresh, Step("mended", anew=case))

    users.replace("code/my_model.py", stop, "raise ValueError('no luck')")
    done = users.clone.snakemake(*RUN)
    assert done.returncode != 0
    assert "my-object on msd_spleen: 2 of 2 cases failed" in done.stderr
    log = (users.run / "logs/predict/my-object/msd_spleen-0.log").read_text()
    assert "`my-object` failed on all 2 cases of `msd_spleen`" in log
    assert "no luck" in log
    users.replace("code/my_model.py", "raise ValueError('no luck')", "pass")
    # The same answers as before: their rows are still there.
    anew = ("prediction/my-object/*/spleen_[16]*", "prediction/my-object/acdc/*")
    take(users, fresh, Step("mended again", anew=anew))


def test_a_run_copied_away_reports_itself(users, tmp_path):
    """The run's folder alone, where nobody knows the cards of its models."""
    run = tmp_path / "results" / NAME
    shutil.copytree(users.run, run, copy_function=shutil.copyfile)
    shutil.rmtree(run / "tables")
    clone = replace(users.clone, folder=tmp_path, started=[])
    clone.satbench("aggregate", "--run", f"results/{NAME}")
    clone.satbench("report", "--run", f"results/{NAME}")
    copied = Place(clone)
    for path in (users.run / "tables").glob("*.parquet"):
        if path.stem not in ("runtime", "cost", "audit"):
            found = pd.read_parquet(run / "tables" / path.name)
            pd.testing.assert_frame_equal(found, pd.read_parquet(path), obj=path.stem)
    board = (copied.folder / "reports/out" / NAME / "leaderboard.html").read_text()
    assert all(f'"{model}"' in board for model in REAL["models"])


# Trained models on virtual patients.

TRAINING = {
    **CHEAP,
    "cohort": {"patients": 4, "test_patients": 1},
    "models": ["sat-nano", "nnunet", "oracle"],
    "presets": {"sat-nano": "smoke", "nnunet": "config/specialists.yaml"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, new_clone) -> Place:
    """A synthetic run of both trained models."""
    place = Place(make_place(tmp_path_factory.mktemp("trained") / "clone", new_clone))
    (place.folder / CONFIG).write_text(yaml.safe_dump(TRAINING, sort_keys=False))
    preset = (ROOT / "baselines/nnunet/presets/smoke.yaml").read_text()
    preset = preset.replace("  mirroring: false", "  mirroring: true")
    (place.folder / "config/specialists.yaml").write_text(preset)
    place.snakemake()
    return place


def without_checkpoint(place: Place) -> None:
    (place.run / "runs/sat-nano/checkpoint.pt").unlink()
    (place.run / "runs/nnunet/acdc/model.json").unlink()


@steps(
    Step(
        "another way to predict with the same training",
        edit("config/specialists.yaml", "time_mirroring: false", "time_mirroring: true"),
        anew=("prediction/nnunet/*",),
        perhaps=("rows/nnunet/*",),
    ),
    Step("checkpoints deleted", without_checkpoint),
    Step(
        "an entry dropped",
        configure(entries=["acdc"]),
        anew=(*TRAINED[:2], *made("sat-nano", "acdc")),
    ),
    Step(
        # The same training as before: what it had predicted of the entry that was away is still so.
        "an entry added",
        configure(entries=CHEAP["entries"]),
        anew=(*TRAINED[:2], *made("sat-nano", "acdc")),
    ),
    Step(
        "specialists forced",
        arguments=(*FORCED, "train_specialist"),
        anew=("specialist/*",),
        # nnU-Net writes the time of day into its checkpoints.
        perhaps=("prediction/nnunet/*",),
    ),
    Step("seed", configure(seed=1), anew=("*",), perhaps=("rows/nnunet/*",)),
)
def test_what_is_trained(trained, fresh, step):
    take(trained, fresh, step)
