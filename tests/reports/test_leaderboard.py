"""The board: what its payload holds, how large it gets, and that it stays one file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.config import RunConfig
from evaluation.metrics.catalogue import find_metric
from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from evaluation.published import published_for
from evaluation.tables.aggregate import aggregate
from evaluation.tables.building import build_grids
from evaluation.tables.views import find_links
from reports.layout.pages import embedded_json, packed_json, unpacked_json
from reports.leaderboard.page import SCRIPTS, write_leaderboard
from reports.leaderboard.payload import board_payload
from reports.leaderboard.rows import BINS, EXACT_VALUES, SWITCHES, _spread
from reports.source.cases import CaseRows, load_case_rows
from reports.source.loading import load_source
from reports.source.measures import Measure
from reports.source.run import RunSource
from tests.bench.score_rows import collection_shape, synthetic_scores


@pytest.fixture(scope="module")
def source(run: RunPaths) -> RunSource:
    return load_source(run.root)


@pytest.fixture(scope="module")
def payload(source: RunSource, run: RunPaths) -> dict[str, Any]:
    return json.loads(embedded_json(board_payload(source, load_case_rows(run))))


def _rows(payload: dict[str, Any], name: str, setting: int, measure: str) -> pd.DataFrame:
    """The board's rows of a table under a setting, as the page finds them."""
    frame = pd.DataFrame(payload["numbers"][name])
    at = payload["settings"][setting].get(name, setting)
    return frame[(frame["setting"] == at) & (frame["measure"] == measure)]


def _place(payload: dict[str, Any], what: str, name: str) -> int:
    return [item["id"] for item in payload[what]].index(name)


def test_every_setting_of_the_tables_is_a_switch(
    source: RunSource, payload: dict[str, Any]
) -> None:
    overall = source.tables["overall"]
    names = ["policy", "space", "view", "coverage"]
    assert len(payload["settings"]) == len(overall[names].drop_duplicates())
    first = payload["settings"][0]
    assert (first["space"], first["policy"], first["view"]) == ("native", "present-only", "paper")
    assert [m["id"] for m in payload["measures"]] == ["dsc", "nsd"]


@pytest.mark.parametrize("setting", [0, 3])
def test_the_boards_numbers_are_the_tables(
    source: RunSource, payload: dict[str, Any], setting: int
) -> None:
    chosen = {name: payload["settings"][setting][name] for name in SWITCHES}
    frame = source.pick("overall", Protocol(**chosen))
    assert frame is not None
    key = payload["keys"].index({"level": "overall", "id": "entries"})
    for measure in ("dsc", "nsd"):
        row = frame.query(
            f"statistic == 'entries' and model == 'nnunet' and measure == '{measure}'"
        ).iloc[0]
        rows = _rows(payload, "means", setting, measure)
        found = rows[(rows["key"] == key) & (rows["model"] == _place(payload, "models", "nnunet"))]
        (at,) = found.to_dict("records")
        assert at["value"] == pytest.approx(100 * row["value"], abs=0.01)
        assert at["low"] == pytest.approx(100 * row["value_low"], abs=0.01)
        assert (at["scans"], at["expected"]) == (row["n_cases"], row["n_classes_expected"])


def test_a_mean_over_slots_on_the_page_equals_the_table(
    source: RunSource, payload: dict[str, Any]
) -> None:
    """The page averages filtered choices itself; without a filter that must give the table."""
    rows = _rows(payload, "slots", 0, "dsc")
    rows = rows[rows["model"] == _place(payload, "models", "nnunet")]
    entry = rows["slot"].map(lambda slot: payload["slots"][slot][0])
    mean = rows["value"].groupby(entry).mean().mean()
    frame = source.pick("overall", Protocol())
    assert frame is not None
    row = frame.query("statistic == 'entries' and model == 'nnunet' and measure == 'dsc'").iloc[0]
    assert mean == pytest.approx(100 * row["value"], abs=0.01)


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
    assert values["region:abdomen"]["dsc"] == 89.30
    assert values["dataset:msd_spleen"]["nsd"] == 88.01
    assert values["class:ct|spleen"]["dsc"] > 0
    assert "published" not in {m["role"] for m in payload["models"]}


def test_distributions_and_ends_agree_with_the_scores(
    run: RunPaths, source: RunSource, payload: dict[str, Any]
) -> None:
    cases = load_case_rows(run)
    model = _place(payload, "models", "nnunet")
    dataset = _place(payload, "datasets", "msd_spleen")
    slot = next(i for i, s in enumerate(payload["slots"]) if s[0] == dataset)

    def of_slot(policy: str) -> tuple[pd.Series, dict[str, Any]]:
        frame = cases.frame(Protocol(policy=policy), source.lead)
        part = frame[(frame["model"] == "nnunet") & (frame["dataset"] == "msd_spleen")]
        first = next(
            i for i, s in enumerate(payload["settings"])
            if (s["policy"], s["space"], s["view"]) == (policy, "native", "paper")
        )  # fmt: skip
        rows = _rows(payload, "cases", first, "dsc")
        (spread,) = rows[(rows["model"] == model) & (rows["slot"] == slot)].to_dict("records")
        return part["value"], spread

    values, spread = of_slot("present-only")
    scored = 100 * np.sort(values.dropna().to_numpy())
    assert spread["n"] == len(scored)
    assert spread["values"] == pytest.approx(scored, abs=0.01)
    ends = pd.DataFrame(payload["numbers"]["ends"])
    ends = ends[(ends["model"] == model) & (ends["slot"] == slot)].set_index("which")["value"]
    assert ends["worst"] == pytest.approx(scored[0], abs=0.01)
    assert ends["best"] == pytest.approx(scored[-1], abs=0.01)
    values, both = of_slot("paper")
    assert both["n"] == len(values)


@pytest.mark.parametrize(
    ("metric", "values", "limits"),
    [
        ("dsc", np.linspace(0, 100, EXACT_VALUES + 1), (0, 100)),
        ("relative_volume_error", np.linspace(20, 900, EXACT_VALUES + 1), (0, 900)),
        ("volume_difference", np.linspace(-3, 5, EXACT_VALUES + 1), (-3, 5)),
    ],
)
def test_many_cases_become_a_histogram_over_the_measures_range(
    metric: str, values: np.ndarray, limits: tuple[float, float]
) -> None:
    spread = _spread(values, Measure(find_metric(metric), np.nan))
    assert "values" not in spread
    assert len(spread["counts"]) == BINS
    assert sum(spread["counts"]) == spread["n"] == EXACT_VALUES + 1
    assert (spread["from"], spread["to"]) == limits


def test_packed_numbers_come_back_and_are_the_same_bytes(payload: dict[str, Any]) -> None:
    text = packed_json(payload["numbers"])
    assert unpacked_json(text) == payload["numbers"]
    assert packed_json(payload["numbers"]) == text


def test_a_browser_unpacks_and_draws_the_board_from_disk(
    run: RunPaths, source: RunSource, tmp_path: Path
) -> None:
    """With a browser on this machine the page goes through it; without one its parts are there."""
    path = write_leaderboard(source, load_case_rows(run), tmp_path / "board.html")
    text = path.read_text()
    numbers = re.search(r'id="numbers">([^<]+)</script>', text)
    assert numbers is not None
    assert set(unpacked_json(numbers[1])) == {"means", "slots", "ranks", "cases", "ends"}
    if shutil.which("chromium") is None:
        return
    page = in_browser(path, "#metric=nsd")
    frame = source.pick("overall", Protocol())
    assert frame is not None
    row = frame.query("statistic == 'entries' and model == 'nnunet' and measure == 'nsd'").iloc[0]
    assert f'<span class="value">{100 * row["value"]:.1f}</span>' in page
    assert "NSD in percent, higher is better" in page
    assert '<details id="switches">' in page, "folded until they are wanted"


def in_browser(path: Path, address: str) -> str:
    """The page as a browser has drawn it."""
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000",
         "--dump-dom", f"{path.as_uri()}{address}"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


@pytest.mark.long
def test_the_address_brings_back_everything(
    run: RunPaths, source: RunSource, tmp_path: Path
) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    path = write_leaderboard(source, load_case_rows(run), tmp_path / "board.html")
    board = in_browser(
        path, "#small=1&open=1&columns=dataset&cell=nnunet~overall&slot=word|ct|liver"
    )
    assert re.search(r'<details id="switches" open', board)
    assert re.search(r"<small>95 % interval \d", board)
    assert '<section id="page" hidden' in board
    assert "liver, WORD: DSC of each case" in board
    assert 'class="line" aria-current="true"' in board
    assert "page=dataset%3Aword" in board, "the head of a dataset's column leads to its page"
    frame = source.pick("dataset_class", Protocol())
    assert frame is not None
    rows = frame.query("preferred and dataset == 'word' and measure == 'dsc'")
    for page, model in (("model:nnunet", "nnunet"), ("dataset:word", "sat-nano")):
        text = in_browser(path, f"#page={page}")
        assert '<div id="board-view" hidden' in text
        shown = np.array([float(value) for value in re.findall(r"(\d+\.\d) \(", text)])
        for value in 100 * rows.loc[rows["model"] == model, "value"].dropna():
            assert np.abs(shown - value).min() < 0.06, "as printed, of four digits"
    unknown = in_browser(path, "#page=model:nobody&metric=nothing&sort=x")
    assert '<section id="page" hidden' in unknown
    assert "DSC in percent" in unknown


def test_every_script_of_the_board_is_used() -> None:
    folder = Path(__file__).parents[2] / "reports" / "templates"
    assert {p.name for p in folder.glob("leaderboard-*.js")} == set(SCRIPTS) - {"scroll-hint.js"}


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


@pytest.mark.long
def test_ten_models_on_the_whole_collection_stay_small(tmp_path: Path) -> None:
    """The file's size hangs on models x classes, hardly on rows: 405 slots, 10 models."""
    models = {f"model-{i}": i / 100 for i in range(10)}
    scores = synthetic_scores(models, collection_shape(0.05))
    grid = build_grids(scores.rows, scores.expected, find_links(scores.expected.splits, None))[0]
    tables = aggregate(grid, scores.expected)
    config = RunConfig.model_validate(
        {"name": "big", "study": "sat", "data_kind": "synthetic", "raw_root": "raw",
         "models": list(models), "cohort": {}}
    )  # fmt: skip
    source = RunSource(RunPaths(tmp_path), config, tables, published_for(config))
    path = write_leaderboard(source, CaseRows(scores.rows), tmp_path / "board.html")
    assert path.stat().st_size < 3_000_000
    payload = board_payload(source, CaseRows(scores.rows))
    assert len(payload["slots"]) == 405
    # Settings with the same numbers share them.
    held = {s["slots"] for s in payload["settings"]}
    assert len(held) < len(payload["settings"])
    assert set(payload["numbers"]["slots"]["setting"]) == held
