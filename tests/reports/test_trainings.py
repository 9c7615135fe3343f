"""Mean and spread over trainings, beside intervals over patients."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evaluation.config import RunConfig, declare_variants
from evaluation.models.presets import FrozenPreset, freeze_preset
from reports.figures.shares import shares_figures
from reports.layout.style import drawing
from reports.leaderboard.payload import board_payload
from reports.source.cases import CaseRows
from reports.source.loading import load_source
from reports.tables.downstream import old_entries_table, without_training_table
from reports.tables.overall import overall_table
from reports.tables.shares import shares_table
from reports.tables.trainings import trainings_table
from tests.bench.score_rows import synthetic_scores
from tests.reports.conftest import shape_of, write_run


@pytest.fixture(autouse=True)
def no_variants_afterwards():
    yield
    declare_variants(
        RunConfig(name="x", study="sat", data_kind="real", raw_root="raw", models=["oracle"])
    )


def test_spread_over_trainings(tmp_path: Path) -> None:
    entries = {"msd_spleen": 12, "promise12": 10}
    models = {"mine-s0": 0.0, "mine-s1": 0.05, "mine-s7": 0.01, "nnunet": 0.02}
    scores = synthetic_scores(models, shape_of(entries), seed=1)
    kept = scores.rows.assign(**{name: scores.rows[name].clip(0, 1) for name in ("dsc", "nsd")})
    scores = replace(scores, rows=kept)
    variants: dict[str, object] = {
        "mine": {"model": "hermes-r", "seeds": [0, 1, 7], "title": "Mine"}
    }
    paths = write_run(tmp_path / "run", scores, list(entries), variants=variants)
    source = load_source(paths.root)
    assert source.model_title("mine-s7") == "Mine, seed 7"
    table = trainings_table(source, source.protocols[0])
    assert table is not None
    row = next(row for row in table.rows if row[2] == "DSC")
    overall = pd.read_parquet(paths.table("overall"))
    chosen = overall.query(
        "statistic == 'entries' and metric == 'dsc' and policy == 'present-only'"
        " and view == 'paper' and coverage == 'supported' and model.str.startswith('mine')"
    )
    values = (100 * chosen["value"]).tolist()
    assert len(values) == 3
    spread = f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"
    assert row[:5] == ("Mine", "all entries", "DSC", 3, spread)
    assert row[5] == f"{min(values):.2f}–{max(values):.2f}"
    middle = chosen.sort_values("value").iloc[1]
    assert row[6] == f"{100 * middle['value_low']:.2f}–{100 * middle['value_high']:.2f}"
    # Beside all entries, each of them, by its own means.
    by_entry = pd.read_parquet(paths.table("dataset")).query(
        "metric == 'dsc' and policy == 'present-only' and view == 'paper'"
        " and dataset == 'promise12' and coverage == 'supported' and aggregation == 'macro'"
        " and model.str.startswith('mine')"
    )
    of_entry = [100 * value for value in by_entry["value"]]
    (found,) = [r for r in table.rows if r[1:3] == (source.dataset_title("promise12"), "DSC")]
    assert found[4] == f"{statistics.fmean(of_entry):.2f} ± {statistics.stdev(of_entry):.2f}"
    # One row of the overall table, which competes with nobody, and a line on the board.
    overall_rows = overall_table(source, source.protocols[0])
    assert overall_rows is not None
    ((at, mean),) = [
        (index, row)
        for index, row in enumerate(overall_rows.rows[:9])
        if "mean of 3" in str(row[0])
    ]
    assert at in overall_rows.unranked
    assert mean[2:4] == (pytest.approx(statistics.fmean(values)), spread.split(" ", 1)[1])
    board = board_payload(source, CaseRows(pd.DataFrame()))
    members = ["mine-s0", "mine-s1", "mine-s7"]
    assert board["trainings"] == [{"title": "Mine", "models": members}]
    notes = board["meta"]["notes"]
    assert any(f"Mine is trained with the seeds 0, 1 and 7: DSC {spread}" in n for n in notes)
    assert "over trainings" in table.caption
    assert "over patients" in table.caption


def test_shares_are_means_over_trainings_of_the_entry(tmp_path: Path) -> None:
    entries = {"msd_spleen": 12}
    models = {"up-a": 0.0, "up-b": 0.05, "bare": 0.1}
    scores = synthetic_scores(models, shape_of(entries), seed=1)
    kept = scores.rows.assign(**{name: scores.rows[name].clip(0, 1) for name in ("dsc", "nsd")})
    scores = replace(scores, rows=kept)

    def variant(draw: int, **more: object) -> dict[str, object]:
        return {
            "model": "hermes-r",
            "changes": {"share": {"part": 0.1, "draw": draw}, "entries": ["msd_spleen"], **more},
        }

    upstream = {"upstream": {"checkpoint": "somewhere.pt"}}
    variants = {
        "up-a": variant(0, **upstream), "up-b": variant(1, **upstream), "bare": variant(0),
    }  # fmt: skip
    paths = write_run(tmp_path / "run", scores, list(entries), variants=variants)
    source = load_source(paths.root)
    table = shares_table(source, source.protocols[0])
    assert table is not None
    rows = {(row[1], row[3]): row for row in table.rows}
    dataset = pd.read_parquet(paths.table("dataset"))
    chosen = dataset.query(
        "metric == 'dsc' and policy == 'present-only' and view == 'paper'"
        " and coverage == 'supported' and aggregation == 'macro'"
    ).set_index("model")["value"]
    both = [100 * chosen["up-a"], 100 * chosen["up-b"]]
    row = rows["Hermes-R, from upstream", "DSC"]
    assert row[2] == "10"
    assert row[4:6] == (2, pytest.approx(statistics.fmean(both)))
    assert row[6] == pytest.approx(statistics.stdev(both))
    row = rows["Hermes-R, from scratch", "DSC"]
    assert row[4:] == (1, pytest.approx(100 * chosen["bare"]), None)
    with drawing():
        (figure,) = shares_figures(source, source.protocols[0])
    drawn = figure.data["dsc"]
    assert drawn["Hermes-R, from upstream"] == [(10, pytest.approx(statistics.fmean(both)))]
    assert drawn["Hermes-R, from scratch"] == [(10, pytest.approx(100 * chosen["bare"]))]
    assert "over trainings" in figure.caption


def test_what_is_forgotten_of_old_entries(tmp_path: Path) -> None:
    entries = {"msd_spleen": 12, "promise12": 10}
    scores = synthetic_scores({"up": 0.0, "tuned": 0.05}, shape_of(entries), seed=1)
    rows = scores.rows.assign(**{name: scores.rows[name].clip(0, 1) for name in ("dsc", "nsd")})
    frozen = rows[rows["model"] == "up"].assign(model="frozen")
    # The upstream does not know the new entry, and of one scan a last bit is lost.
    old = rows["dataset"] == "promise12"
    before, tuned = rows["model"] == "up", rows["model"] == "tuned"
    cut = rows[before & ~old].assign(status="unsupported", dsc=float("nan"), nsd=float("nan"))
    bit = rows[tuned & old].copy()
    same = rows[before & old]
    shared = bit["case"] != bit["case"].iloc[0]
    bit.loc[shared, ["dsc", "nsd"]] = same.loc[:, ["dsc", "nsd"]].to_numpy()[shared]
    rows = pd.concat([same, cut, frozen, bit, rows[tuned & ~old]])
    models = ("up", "frozen", "tuned")
    scores = replace(scores, rows=rows, expected=replace(scores.expected, models=models))

    def variant(**changes: object) -> dict[str, object]:
        return {"model": "hermes-r", "changes": changes}

    variants = {
        "up": variant(upstream={"checkpoint": "a.pt", "trains": "nothing"}),
        "frozen": variant(upstream={"checkpoint": "a.pt", "trains": "new"}),
        "tuned": variant(upstream={"checkpoint": "a.pt"}, share={"part": 1.0}),
    }
    paths = write_run(tmp_path / "run", scores, list(entries), variants=variants)
    source = load_source(paths.root)
    table = old_entries_table(source, source.protocols[0])
    assert table is not None
    dataset = pd.read_parquet(paths.table("dataset"))
    value = dataset.query(
        "dataset == 'promise12' and metric == 'dsc' and policy == 'present-only'"
        " and view == 'paper' and coverage == 'supported' and aggregation == 'macro'"
    ).set_index("model")["value"]
    first, last = (
        [row for row in table.rows if row[1] == m and row[2] == "DSC"] for m in models[1:]
    )
    assert [row[3:] for row in first] == [(100 * value["up"], 100 * value["up"], 0.0, "0 of 10")]
    assert [row[6] for row in last] == ["1 of 10"]
    assert last[0][5] == pytest.approx(100 * (value["tuned"] - value["up"]))
    assert last[0][5] != 0


def test_answers_without_training_beside_those_with(tmp_path: Path) -> None:
    entries = {"msd_spleen": 12, "word": 5}
    scores = synthetic_scores({"hermes-r": 0.0, "oracle": 0.1}, shape_of(entries), seed=1)
    rows = scores.rows.assign(**{name: scores.rows[name].clip(0, 1) for name in ("dsc", "nsd")})
    known = (rows["dataset"] != "word") | (rows["class"] == "spleen") | (rows["model"] == "oracle")
    lost = rows[~known].assign(status="unsupported", dsc=float("nan"), nsd=float("nan"))
    scores = replace(scores, rows=pd.concat([rows[known], lost]))
    paths = write_run(tmp_path / "run", scores, list(entries))
    values = {"answers_as": {"word": "msd_spleen"}}
    freeze_preset(paths, "hermes-r", FrozenPreset(name="small", values=values))
    source = load_source(paths.root)
    table = without_training_table(source, source.protocols[0])
    assert table is not None
    slots = pd.read_parquet(paths.table("dataset_class")).query(
        "model == 'hermes-r' and `class` == 'spleen' and metric == 'dsc' and view == 'paper'"
        " and policy == 'present-only' and coverage == 'supported'"
    )
    value = slots.groupby("dataset", observed=True)["value"].first()
    (row,) = (row for row in table.rows if row[4] == "DSC")
    assert row == (
        "Hermes-R", "WORD", "MSD Spleen", "spleen", "DSC",
        pytest.approx(100 * value["word"]), pytest.approx(100 * value["msd_spleen"]),
    )  # fmt: skip
