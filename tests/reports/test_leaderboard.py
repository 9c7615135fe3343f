"""The board: what its payload holds, how large it gets, and that it stays one file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.config import RunConfig
from evaluation.paths import RunPaths
from evaluation.published import published_for
from evaluation.tables.aggregate import aggregate
from evaluation.tables.building import build_grids
from evaluation.tables.views import find_links
from reports.leaderboard.page import board_payload, write_leaderboard
from reports.leaderboard.rows import BINS, EXACT_VALUES, _spread
from reports.pages import embedded_json
from reports.per_case import CaseRows, load_case_rows
from reports.source import Protocol, RunSource, load_source
from tests.bench.score_rows import collection_shape, synthetic_scores


@pytest.fixture(scope="module")
def source(run: RunPaths) -> RunSource:
    return load_source(run.root)


@pytest.fixture(scope="module")
def payload(source: RunSource, run: RunPaths) -> dict[str, Any]:
    return json.loads(embedded_json(board_payload(source, load_case_rows(run))))


def _rows(payload: dict[str, Any], kind: str, setting: int) -> dict[str, list[Any]]:
    columns = payload[kind][setting]
    return payload[kind][columns] if isinstance(columns, int) else columns


def test_every_setting_of_the_tables_is_a_switch(
    source: RunSource, payload: dict[str, Any]
) -> None:
    overall = source.tables["overall"]
    names = ["policy", "space", "tolerance_mm", "view", "coverage"]
    assert len(payload["settings"]) == len(overall[names].drop_duplicates())
    first = payload["settings"][0]
    assert (first["space"], first["policy"], first["view"]) == ("native", "present-only", "paper")


def test_the_boards_numbers_are_the_tables(source: RunSource, payload: dict[str, Any]) -> None:
    frame = source.pick("overall", Protocol())
    assert frame is not None
    row = frame[(frame["statistic"] == "entries") & (frame["model"] == "nnunet")].iloc[0]
    model = [m["id"] for m in payload["models"]].index("nnunet")
    key = payload["keys"].index({"level": "overall", "id": "entries"})
    groups = _rows(payload, "groups", 0)
    at = list(zip(groups["m"], groups["k"], strict=True)).index((model, key))
    assert groups["dsc"][at] == round(10_000 * row["dsc"])
    assert groups["dl"][at] == round(10_000 * row["dsc_low"])
    assert groups["n"][at] == row["n_cases"]
    assert groups["e"][at] == row["n_classes_expected"]


def test_a_mean_over_slots_on_the_page_equals_the_table(
    source: RunSource, payload: dict[str, Any]
) -> None:
    """The page averages filtered choices itself; without a filter that must give the table."""
    scores = _rows(payload, "scores", 0)
    by_entry: dict[int, list[float]] = {}
    for model, slot, value in zip(scores["m"], scores["s"], scores["dsc"], strict=True):
        if payload["models"][model]["id"] == "nnunet" and value is not None:
            by_entry.setdefault(payload["slots"][slot][0], []).append(value)
    mean = np.mean([np.mean(v) for v in by_entry.values()])
    frame = source.pick("overall", Protocol())
    assert frame is not None
    row = frame[(frame["statistic"] == "entries") & (frame["model"] == "nnunet")].iloc[0]
    assert mean == pytest.approx(10_000 * row["dsc"], abs=1.0)


def test_facts_and_contamination(payload: dict[str, Any]) -> None:
    models = {m["id"]: m for m in payload["models"]}
    assert models["oracle"]["role"] == "control"
    assert models["sat-nano"]["parameters"] == 107_227_008
    assert models["sat-nano"]["trained"] == "training splits of this run"
    assert "trained on" in models["sat-nano"]["contamination"]["0"]
    assert models["sat-nano"]["linked"] == "not audited"
    assert models["nnunet"]["licence"]
    assert payload["meta"]["notRun"] == [["SLIVER07", "no data at raw/SLIVER07"]]


def test_an_audit_marks_linked_test_scans(source: RunSource) -> None:
    link = {
        "dataset": "msd_spleen", "case": "case-00001", "patient": "p", "split": "test",
        "other_dataset": "word", "other_case": "x", "other_patient": "p", "other_split": "train",
        "verdict": "same scan", "source": "content", "accepted": True, "declared": False,
        "shared_hashes": 1.0, "votes": 1.0, "correlation": 1.0,
    }  # fmt: skip
    frame = pd.DataFrame([link, link | {"case": "case-00002", "accepted": False}])
    audited = RunSource(
        source.paths, source.config, source.tables | {"audit": frame}, source.published
    )
    models = {m["id"]: m for m in board_payload(audited, CaseRows(pd.DataFrame()))["models"]}
    assert models["sat-nano"]["linked"] == "1 test scans"
    assert models["sat-nano"]["contamination"][0].startswith("linked: 1 test scans of MSD Spleen")
    assert models["oracle"]["linked"] == "none found"


def test_published_rows_carry_every_scope(
    paper: RunSource, some_rows: RunSource, payload: dict[str, Any]
) -> None:
    assert payload["published"] == []
    assert not [note for note in payload["meta"]["notes"] if "ublished" in note]
    nothing = CaseRows(pd.DataFrame())
    part = board_payload(some_rows, nothing)["published"]
    assert {key for row in part for key in row["values"]} >= {"dataset:msd_spleen"}
    assert "region:abdomen" not in part[0]["values"]
    payload = board_payload(paper, nothing)
    values = next(p for p in payload["published"] if p["id"] == "nnunet")["values"]
    assert values["region:abdomen"]["dsc"] == 8930
    assert values["dataset:msd_spleen"]["nsd"] == 8801
    assert values["class:ct|spleen"]["dsc"] > 0
    assert "published" not in {m["role"] for m in payload["models"]}


def test_distributions_and_ends_agree_with_the_scores(
    run: RunPaths, payload: dict[str, Any]
) -> None:
    frame = load_case_rows(run).frame(Protocol())
    part = frame[(frame["model"] == "nnunet") & (frame["dataset"] == "msd_spleen")]
    model = [m["id"] for m in payload["models"]].index("nnunet")
    dataset = [d["id"] for d in payload["datasets"]].index("msd_spleen")
    slot = next(i for i, s in enumerate(payload["slots"]) if s[0] == dataset)
    spread = payload["distributions"]["present-only|native|1|paper"][f"{model}|{slot}"]["dsc"]
    scored = np.sort(part["dsc"].dropna().to_numpy())
    assert spread["n"] == len(scored)
    assert spread["v"] == [round(1000 * v) for v in scored]
    worst, _, best = payload["cases"][f"{model}|{slot}"]
    assert (worst[1], best[1]) == (round(1000 * scored[0]), round(1000 * scored[-1]))
    both = payload["distributions"]["paper|native|1|paper"][f"{model}|{slot}"]["dsc"]
    assert both["n"] == len(part)


def test_many_cases_become_a_histogram() -> None:
    values = np.linspace(0, 1, EXACT_VALUES + 1)
    spread = _spread(values)
    assert "v" not in spread
    assert len(spread["h"]) == BINS
    assert sum(spread["h"]) == spread["n"] == EXACT_VALUES + 1


def test_script_data_cannot_break_out() -> None:
    text = embedded_json({"a": "</script><!-- \u2028 & ß"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!-- \u2028 & ß"}


def test_the_scripts_draw_text_only_as_text() -> None:
    folder = Path(__file__).parents[2] / "reports" / "templates"
    for script in folder.glob("*.js"):
        code = script.read_text()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(", code)


def test_ten_models_on_the_whole_collection_stay_small(tmp_path: Path) -> None:
    """The file's size hangs on models x classes, hardly on rows: 405 slots, 10 models."""
    models = {f"model-{i}": i / 100 for i in range(10)}
    scores = synthetic_scores(models, collection_shape(0.05))
    grid = build_grids(scores.rows, scores.expected, find_links(scores.expected.splits, None))[0]
    tables = aggregate(grid, scores.expected, n_draws=10)
    config = RunConfig.model_validate(
        {"name": "big", "study": "sat", "data_kind": "synthetic", "raw_root": "raw",
         "models": list(models), "cohort": {}}
    )  # fmt: skip
    source = RunSource(RunPaths(tmp_path), config, tables, published_for(config))
    path = write_leaderboard(source, CaseRows(scores.rows), tmp_path / "board.html")
    assert path.stat().st_size < 3_000_000
    payload = board_payload(source, CaseRows(scores.rows))
    assert len(payload["slots"]) == 405
    assert any(isinstance(columns, int) for columns in payload["scores"])
