"""`make hermes-small`, from raw layouts to the second study's tables and figures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evaluation.datasets.registry import find_card
from evaluation.models.card import find_model
from evaluation.studies.record import find_study

STUDY = find_study("hermes")
ENTRIES = (
    "bcv", "structseg_thorax", "lits", "kits19", "amos_ct", "amos_mr", "chaos_mr", "mnms",
    "autopet", "segthor",
)  # fmt: skip
ABLATION = tuple(f"hermes-r-l{length}" for length in (1, 5, 10, 20))
TRAINED = ("resunet", "hermes-r", "hermes-m", "multitalent", *ABLATION)
TITLES = {model: find_model(model).title for model in TRAINED[:4]}
TITLES |= {model: STUDY.models[model].title for model in ABLATION}
pytestmark = [pytest.mark.long, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, new_clone: Callable[..., Any]) -> Path:
    clone = new_clone(tmp_path_factory.mktemp("hermes-small"))
    clone.run("--cores", "2", "--configfile", "config/hermes-small.yaml", timeout=3000)
    small = "config/hermes-small-downstream.yaml"
    clone.run("--cores", "2", "--configfile", small, timeout=1200)
    clone.satbench("universal", "priors", "--run", "results/hermes-small")
    made: Path = clone.folder
    return made


def table(folder: Path, name: str, run: str = "hermes-small") -> list[dict[str, str]]:
    with (folder / f"reports/out/{run}/tables/{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_scan_has_an_answer_of_every_model(folder: Path) -> None:
    scores = folder / "results/hermes-small/scores"
    for entry in ENTRIES:
        for model in (*TRAINED[:4], "oracle"):
            rows = pd.read_parquet(scores / model / f"{entry}.parquet")
            failed = rows[rows["status"].isin(["missing", "failed"])]
            assert failed.empty, (model, entry)
            assert set(rows["space"]) == {"native", "cropped"}
            if model == "oracle":
                native = rows.query("space == 'native' and status == 'scored'")
                assert (native["dsc"] == 1).all()


def test_the_five_tables(folder: Path) -> None:
    costs = {row["model"]: row for row in table(folder, "costs_beside_published")}
    assert {TITLES[m] for m in TRAINED} <= set(costs)
    for name, least in (("printed_2", 10), ("printed_3", 5), ("printed_4", 1)):
        rows = {row["model"]: row for row in table(folder, name)}
        for model in TRAINED if name == "printed_4" else TRAINED[:4]:
            row = rows[TITLES[model]]
            numbers = [v for k, v in row.items() if k not in ("model", "source") and is_number(v)]
            assert len(numbers) >= least, (name, model, row)
    # A variant is a row, not a column: all four are means of one aspect.
    assert set(table(folder, "printed_4")[0]) == {"model", "source", "seven"}
    titles = {find_card(entry).title for entry in ENTRIES}
    assert {row["dataset"] for row in table(folder, "collection")} == titles


def test_both_figures(folder: Path) -> None:
    priors = folder / "results/hermes-small/runs/hermes-r/priors"
    upstream = [entry for entry in ENTRIES if entry != "segthor"]
    assert {path.name for path in priors.iterdir()} == {
        "similarity.csv", "similarity-task.png", "similarity-modality.png",
        *(f"heat-maps-{entry}.png" for entry in upstream),
    }  # fmt: skip
    kinds = pd.read_csv(priors / "similarity.csv").groupby("kind")["prior"].unique()
    assert {"ct", "pet", "cine", "t1in", "t1out", "t2spir", "unknown"} == set(kinds["modality"])


def test_segthor_without_training(folder: Path) -> None:
    rows = [row for row in table(folder, "without_training") if row["metric"] == "DSC"]
    classes = [*STUDY.classes["segthor"], "mean of these"]
    for model in TRAINED[:4]:
        own = {row["class"]: row for row in rows if row["model"] == TITLES[model]}
        assert sorted(own) == sorted(classes)
        assert {row["answers"] for row in own.values()} == {find_card("structseg_thorax").title}
        assert all(is_number(row["value_where_trained"]) for row in own.values())


def test_transfer_and_what_is_forgotten(folder: Path) -> None:
    run = "hermes-small-downstream"
    shares = [row for row in table(folder, "shares", run) if row["metric"] == "DSC"]
    counts = {(row["start"], row["share"]): row["n_trainings"] for row in shares}
    starts = "Hermes-R, from upstream", "Hermes-R, from scratch"
    assert counts == {(s, part): n for s in starts for part, n in (("25", "2"), ("100", "1"))}
    assert (folder / f"reports/out/{run}/figures/shares_msd_pancreas.png").is_file()
    old = {row["model"]: row for row in table(folder, "old_entries", run) if row["metric"] == "DSC"}
    frozen, tuned = old["Hermes-R, new tokens alone"], old["Hermes-R from upstream, 100 %"]
    assert (float(frozen["difference"]), frozen["changed"]) == (0, "0 of 2")
    assert frozen["after"] == frozen["before"] == tuned["before"]
    assert tuned["changed"] == "2 of 2"


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
