"""A board of real scans, one of which lies in two datasets: the audit's marks and the clean view.

Two studies of one's own are made from MSD Hippocampus. A scan that one of them trains on is a
test scan of the other, under another name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.datasets.shards import standardise_shard
from evaluation.datasets.splitting import write_split
from evaluation.models.running import predict_shard
from evaluation.models.training_sets import training_sets
from evaluation.paths import RunPaths
from evaluation.runs.carrying import carry_cards
from evaluation.schema import AUDIT, TABLES, read_table
from evaluation.scoring.shards import measure_shard
from evaluation.volumes.image_files import Volume, read_volume, write_volume
from evaluation.workflow.adding import add_model
from reports.leaderboard.facts import contamination_of
from reports.leaderboard.payload import board_payload
from reports.leaderboard.rows import BoardIds
from reports.source.cases import load_case_rows
from reports.source.loading import load_source

# Study -> own name of a scan -> its number in MSD Hippocampus, and its side of the split.
STUDIES = {
    "study_a": {"a1": (1, "train"), "a2": (3, "train"), "a3": (4, "test"), "a4": (6, "test")},
    "study_b": {"b1": (4, "train"), "b2": (7, "train"), "b3": (8, "test")},
}
MODELS = {"insider": ["run"], "visitor": ["study_b"], "outsider": []}


@pytest.fixture(scope="module")
def board(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the leaderboard of the run shows."""
    place = tmp_path_factory.mktemp("linked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield {"run": (run := make_run(shared, place)), **payload_of(run)}


def make_run(shared: Path, place: Path) -> RunPaths:
    source = shared / "data" / "MSD_Hippocampus" / "Task04_Hippocampus"
    cards = place / "config" / "datasets"
    cards.mkdir(parents=True)
    for study, scans in STUDIES.items():
        for name, (number, _) in scans.items():
            for folder, suffix in (("imagesTr", "mr"), ("labelsTr", "seg")):
                file = source / folder / f"hippocampus_{number:03d}.nii.gz"
                target = place / "raw" / study / f"{name}_{suffix}.nii.gz"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        (cards / f"{study}.csv").write_text(
            "case,patient,split\n" + "".join(f"{n},{n},{side}\n" for n, (_, side) in scans.items())
        )
        write_card(cards / f"{study}.yaml", study, scans)
    models = place / "config" / "models"
    models.mkdir(parents=True)
    for model, trained in MODELS.items():
        (models / f"{model}.yaml").write_text(
            yaml.safe_dump(
                {
                    "id": model, "title": model, "description": "d", "citation": "c",
                    "licence": "MIT", "trained_on": trained,
                    "adapter": {
                        "kind": "prediction-folder", "folder": f"answers/{model}",
                        "labels": {s: {"anterior hippocampus": 1} for s in STUDIES},
                    },
                }
            )
        )  # fmt: skip
    run = RunPaths(place / "results" / "linked")
    freeze(
        RunConfig(
            name="linked", study="sat", data_kind="real", raw_root="raw",
            entries=list(STUDIES), models=["insider", "visitor"],
        ),
        run.config,
    )  # fmt: skip
    for study in STUDIES:
        standardise_shard(run.root, study, 0)
        write_split(run.root, study)
    command = ["data", "audit", "--run", str(run.root)]
    result = CliRunner().invoke(build(), command)
    assert result.exit_code == 0, result.output
    for model in MODELS:
        for study, scans in STUDIES.items():
            for name, (_, side) in scans.items():
                if side == "test":
                    answer(place / "raw" / study, place / "answers" / model / study, name)
    for model in ("insider", "visitor"):
        for study in STUDIES:
            predict_shard(run.root, model, study, 0)
            measure_shard(run.root, model, study, 0)
    add_model(run.root, "outsider", lambda _: None)
    return run


def write_card(path: Path, study: str, scans: dict[str, tuple[int, str]]) -> None:
    result = CliRunner().invoke(build(), ["new", "dataset", study])
    assert result.exit_code == 0, result.output
    sides = [side for _, side in scans.values()]
    card = yaml.safe_load(path.read_text()) | {
        "title": study.title(),
        "modality": "mri",
        "folder": study,
        "reader_args": {
            "scans": [{"image": "{case}_mr.nii.gz", "label": "{case}_seg.nii.gz"}]
        },
        "classes": [{"name": "anterior hippocampus", "values": [1]}],
        "ignore_values": [2],
        "patient_pattern": "^(.*)$",
        "split": {
            "train": sides.count("train"), "test": sides.count("test"), "rule": "seeded",
        },
        "expected_cases": len(scans),
        "expected_patients": len(scans),
    }  # fmt: skip
    path.write_text(yaml.safe_dump(card))


def answer(raw: Path, folder: Path, name: str) -> None:
    """A prediction made elsewhere: the reference without its last slices."""
    truth = read_volume(raw / f"{name}_seg.nii.gz")
    labels = (truth.array == 1).astype("uint8")
    labels[:, :, labels.shape[2] // 2 :] = 0
    write_volume(folder / f"{name}.nii.gz", Volume(labels, truth.affine))


def payload_of(run: RunPaths) -> dict[str, Any]:
    return board_payload(load_source(run.root), load_case_rows(run))


def test_the_audit_finds_the_scan_in_both(board: dict[str, Any]) -> None:
    table = read_table(board["run"].table("audit"), AUDIT)
    links = table[table["accepted"]]
    assert {(r.case, r.other_case) for r in links.itertuples()} in ({("a3", "b1")}, {("b1", "a3")})


def test_a_model_that_is_added_gets_its_times_and_a_new_report(board: dict[str, Any]) -> None:
    run = board["run"]
    times = read_table(run.table("runtime"), TABLES["runtime"]).set_index(["model", "dataset"])
    # Taking in a folder is not predicting.
    assert times.loc[("outsider", "study_a"), "n_cases"] == 0
    assert times["seconds"].isna().all()
    facts = {m["id"]: m for m in board["models"]}
    assert facts["outsider"]["seconds"] is None
    report = run.root.parents[1] / "reports" / "out" / "linked"
    assert "outsider" in (report / "leaderboard.html").read_text()
    assert "– (not measured)" in (report / "tables" / "runtime.md").read_text()
    assert "real data" in (report / "leaderboard.html").read_text()


def test_the_board_marks_who_was_trained_on_what(board: dict[str, Any]) -> None:
    facts = {m["id"]: m for m in board["models"]}
    titles = [d["id"] for d in board["datasets"]]
    marks = {
        model: {titles[index]: words for index, words in facts[model]["contamination"].items()}
        for model in MODELS
    }
    trained = "trained on the training split of this dataset"
    assert marks["insider"]["study_a"].startswith("linked: 1 test scans of Study_A appear")
    assert marks["insider"]["study_b"] == trained
    # Trained elsewhere on the twin of a scan of study A.
    assert marks["visitor"]["study_a"].startswith("linked: 1 test scans")
    assert marks["visitor"]["study_b"] == trained
    assert marks["outsider"] == {}
    assert [facts[m]["linked"] for m in MODELS] == ["1 test scans", "1 test scans", "none found"]
    assert facts["insider"]["trained"] == "training splits of this run"
    assert facts["visitor"]["trained"] == "Study_B"


def test_the_board_counts_what_another_study_trains_on(board: dict[str, Any]) -> None:
    """Its list of study A trains on one of the test scans here, which has no twin."""
    place = board["run"].root.parents[1]
    (place / "other.yaml").write_text(
        "{id: other, title: Other, document: {id: other, citation: Nobody}, "
        "entries: [study_a], splits: lists}"
    )
    (place / "lists").mkdir()
    (place / "lists/study_a.csv").write_text(
        "case,patient,split\na1,a1,test\na2,a2,test\na3,a3,test\na4,a4,train\n"
    )
    source = load_source(board["run"].root)
    ids = BoardIds.of(source)
    index = ids.datasets["study_a"]
    trained = training_sets(["other.yaml/study_a"], source.study, ids.datasets)
    marks, linked = contamination_of(source, trained, ids)
    words = "trained on 1 of 2 test scans of this dataset, by another study's split"
    assert marks == {index: words}
    assert linked == "none found"


def test_the_clean_view_leaves_it_out_with_its_n(board: dict[str, Any]) -> None:
    frame = read_table(board["run"].table("dataset"), TABLES["dataset"])
    frame = frame.query("policy == 'present-only' and aggregation == 'macro' and space == 'native'")
    frame = frame[(frame["model"] == "visitor") & (frame["coverage"] == "supported")]
    frame = frame[frame["metric"] == "dsc"]
    wide = frame.pivot(index="dataset", columns="view", values=["n_cases", "value"])
    assert wide["n_cases"].loc["study_a"].to_dict() == {"clean": 1, "paper": 2}
    assert wide["n_cases"].loc["study_b"].to_dict() == {"clean": 1, "paper": 1}
    rows = load_case_rows(board["run"]).rows
    rows = rows[(rows["model"] == "visitor") & (rows["dataset"] == "study_a")]
    scores = pd.Series(rows["dsc"].to_numpy(), index=rows["case"].astype(str))
    assert wide["value"].loc["study_a", "clean"] == pytest.approx(scores["a4"])
    assert wide["value"].loc["study_a", "paper"] == pytest.approx(scores.mean())


def test_the_drill_down_follows_the_view(board: dict[str, Any]) -> None:
    slot = next(i for i, (d, _) in enumerate(board["slots"])
                if board["datasets"][d]["id"] == "study_a")  # fmt: skip
    model = [m["id"] for m in board["models"]].index("visitor")
    cases = pd.DataFrame(board["numbers"]["cases"])
    cases = cases[(cases["model"] == model) & (cases["slot"] == slot) & (cases["measure"] == "dsc")]
    chosen = {
        s["view"]: number
        for number, s in reversed(list(enumerate(board["settings"])))
        if (s["policy"], s["space"]) == ("present-only", "native")
    }
    sizes = {
        view: cases.loc[cases["setting"] == chosen[view], "n"].item() for view in ("paper", "clean")
    }
    assert sizes == {"paper": 2, "clean": 1}


def test_the_links_stand_in_the_index_and_under_the_tables(board: dict[str, Any]) -> None:
    report = board["run"].root.parents[1] / "reports" / "out" / "linked"
    said = "1 links between scans (leakage audit, cards): 3 test patients count as 3 independent"
    left_out = "leaves out 1 of 3 test scans"
    files = [
        "index.html",
        "README.md",
        "tables/overall.md",
        "tables/overall.tex",
        "leaderboard.html",
    ]
    for name in files:
        text = (report / name).read_text()
        assert said in text, name
        assert left_out in text, name
    index = (report / "index.html").read_text()
    assert "study_a/a3 (test) - study_b/b1 (train): copied voxels" in index
    assert "1 of these links are announced by no card" in index
    assert "not_linked" in index
    assert "n too small" in (report / "tables" / "overall.md").read_text()
    assert (
        "N too small (below 11 independent patients)"
        in (report / "figures" / "captions.json").read_text()
    )


def test_interval_rank_and_test_carry_one_mark(board: dict[str, Any]) -> None:
    for name in ("overall", "dataset", "class", "ranks", "pairs"):
        frame = read_table(board["run"].table(name), TABLES[name])
        assert set(frame["note"]) == {"n too small"}, name
    assert board["meta"]["tooSmall"] == "n too small"
    assert board["meta"]["minPatients"] == 11


def test_a_link_that_a_card_rejects_is_gone_everywhere(board: dict[str, Any]) -> None:
    run: RunPaths = board["run"]
    path = run.root.parents[1] / "config" / "datasets" / "study_b.yaml"
    card = yaml.safe_load(path.read_text())
    word = {"dataset": "study_a", "relation": "two people", "verified": True}
    path.write_text(yaml.safe_dump(card | {"overlaps": [{**word, "not_linked": [["b1", "a3"]]}]}))
    carry_cards(run, load_frozen(run.root))  # as the workflow does at its start
    result = CliRunner().invoke(build(), ["data", "audit", "--run", str(run.root), "--strict"])
    assert result.exit_code == 0, result.output
    assert "Links rejected by cards: 1." in result.output
    table = read_table(run.table("audit"), AUDIT)
    assert table["verdict"].tolist() == ["rejected by a card"]
    assert not table["accepted"].any()
    result = CliRunner().invoke(build(), ["aggregate", "--run", str(run.root)])
    assert result.exit_code == 0, result.output
    assert "the view clean holds all test cases. Links rejected by cards: 1." in result.output
    frame = read_table(run.table("dataset"), TABLES["dataset"])
    sizes = frame.groupby(["dataset", "view"])["n_cases"].max().unstack()
    assert (sizes["clean"] == sizes["paper"]).all()
    facts = {m["id"]: m for m in payload_of(run)["models"]}
    assert facts["visitor"]["linked"] == "none found"
