"""A study is YAML and CSV: a second one runs from raw data to its own tables without any Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from evaluation.config import load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.splits import split_list, split_rule
from evaluation.files.card_places import cards_of
from evaluation.published import published
from evaluation.studies.record import find_study


def test_a_second_study_from_raw_data_to_tables(pond, monkeypatch) -> None:
    output = pond.run("--cores", "2", "--configfile", "config/pond.yaml")
    assert "3 of 3 entries" in output
    run = pond.folder / "results/pond"
    # Its own splits, also of the entry that the study `sat` has.
    for name, tests in (("fish", {"d_t1", "d_t2"}), ("bird", {"b1", "b3"})):
        split = pd.read_csv(run / f"splits/{name}.csv")
        assert set(split.loc[split["split"] == "test", "case"]) == tests
    listed = pd.read_csv(pond.folder / "studies/lists/msd_spleen.csv")
    assert pd.read_csv(run / "splits/msd_spleen.csv")["split"].tolist() == listed["split"].tolist()
    # Its own grid, modality and sequences.
    rows = pd.read_parquet(run / "scores/shifted/bird.parquet")
    assert set(rows["modality"]) == {"pet"}
    spacing = rows.groupby("space")["spacing_mm"].unique()
    assert [list(spacing[s]) for s in ("native", "resampled")] == [["1x1x1.5"], ["2x2x2"]]
    cases = pd.read_csv(run / "cases/fish/shards/0.csv").set_index("case")["sequence"]
    assert cases["a_t1"] == "T1"
    assert cases["a_t2"] == "T2"
    # Its published numbers beside ours, under its protocol.
    table = pd.read_parquet(run / "tables/published.parquet")
    assert set(table["source"]) == {"pond-2026"}
    assert len(table) == 5
    beside = table[table["model"] == "shifted"].set_index("key")
    for name in ("bird", "msd_spleen"):
        rows = pd.read_parquet(run / f"scores/shifted/{name}.parquet")
        rows = rows.query("space == 'resampled' and tolerance_mm == 2 and status == 'scored'")
        ours = rows.groupby("class")["dsc"].mean().mean()
        assert beside.loc[name, "ours"] == pytest.approx(ours, abs=1e-12)
        assert beside.loc[name, "difference"] == pytest.approx(ours - beside.loc[name, "value"])
    assert beside["ours"].notna().all()
    assert beside.loc["thorax", "ours"] == beside.loc["bird", "ours"], "the regions of its cards"
    assert set(beside["space"]) == {"resampled"}
    assert table[table["model"] == "pond-net"]["ours"].isna().all()
    # The report: its models' names, its grid, its numbers of tables.
    printed = "".join(p.read_text() for p in (pond.folder / "reports/out/pond").rglob("*.md"))
    for words in ("Pond Shift", "Pond Net", "2 mm", "80.00", "swim bladder"):
        assert words in printed, words
    assert "SAT-Nano" not in printed
    a_moved_run_shows_the_same(pond.folder, monkeypatch)


def a_moved_run_shows_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run carries the study, its lists and values, and the cards."""
    elsewhere = folder / "elsewhere"
    shutil.copytree(folder / "results/pond", elsewhere / "copy")
    before = folder / "results/pond/tables/published.parquet"
    monkeypatch.chdir(elsewhere)
    with cards_of(elsewhere / "copy"):
        config = load_frozen(elsewhere / "copy")
        study = find_study(config.study)
        assert study.is_carried
        assert len(published(study)) == 5
        assert split_rule(find_card("msd_spleen"), study).rule == "listed"
        assert len(split_list(find_card("fish"), study) or ()) == 8
    from evaluation.tables.run_tables import aggregate_run

    (elsewhere / "copy/tables/published.parquet").unlink()
    aggregate_run(elsewhere / "copy", n_draws=100)
    again = pd.read_parquet(elsewhere / "copy/tables/published.parquet")
    columns = ["key", "printed", "ours", "space", "source"]
    pd.testing.assert_frame_equal(again[columns], pd.read_parquet(before)[columns])
