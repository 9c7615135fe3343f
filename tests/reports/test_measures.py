"""A run with four metrics at two tolerances: every renderer shows all of them, by direction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.metrics.catalogue import find_metric
from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from evaluation.schema import TABLES, read_table, scores_table, write_table
from reports.figures.catalogue import all_figures
from reports.figures.drawing import pages_of
from reports.layout.report_table import ReportCell, ReportTable, best_cells, to_csv
from reports.layout.style import drawing
from reports.leaderboard.payload import board_payload
from reports.leaderboard.rows import BoardIds, means
from reports.rendering import render_report
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.source.measures import Measure
from reports.source.run import RunSource
from reports.tables.catalogue import all_tables
from reports.tables.classes import datasets_table
from reports.tables.comparisons import pairs_table
from reports.tables.overall import overall_table, ranks_table
from reports.tables.regions import regions_table
from tests.reports.conftest import ENTRIES, FOUR_METRICS, four_metrics, small_scores, write_run

HEADLINE = Protocol()
KEYS = ["dsc", "nsd_1mm", "nsd_2mm", "volume_difference", "relative_volume_error"]
RANKED = [key for key in KEYS if key != "volume_difference"]


@pytest.fixture(scope="module")
def source(four: RunPaths) -> RunSource:
    return load_source(four.root)


def number(entry: Any) -> float:
    value = entry.value if isinstance(entry, ReportCell) else entry
    assert isinstance(value, float)
    return value


def stored(run: RunPaths, table: str, where: str) -> dict[tuple[str, float], float]:
    """(metric, tolerance or 0) -> value of the rows of a result table that fit."""
    frame = read_table(run.table(table), TABLES[table])
    frame = frame.query(
        "policy == 'present-only' and space == 'native' and view == 'paper' and "
        f"coverage == 'supported' and aggregation == 'macro' and {where}"
    )
    keys = zip(frame["metric"], frame["tolerance_mm"].fillna(0), strict=True)
    return dict(zip(keys, frame["value"], strict=True))


def printed(values: dict[tuple[str, float], float]) -> dict[str, float]:
    """The same by the report's keys, in printed units."""
    return {
        "dsc": 100 * values["dsc", 0],
        "nsd_1mm": 100 * values["nsd", 1],
        "nsd_2mm": 100 * values["nsd", 2],
        "volume_difference": values["volume_difference", 0],
        "relative_volume_error": 100 * values["relative_volume_error", 0],
    }


def test_each_tolerance_is_a_measure_with_its_name_unit_and_direction(source: RunSource) -> None:
    assert [m.key for m in source.measures] == KEYS
    assert [m.label for m in source.measures] == [
        "DSC (%)", "NSD 1 mm (%)", "NSD 2 mm (%)", "Volume difference (ml)",
        "Relative volume error (%)",
    ]  # fmt: skip
    assert [m.better for m in source.measures] == ["higher", "higher", "higher", "", "lower"]
    assert [m.key for m in source.ranked] == RANKED
    assert source.lead.key == "dsc"


def test_one_tolerance_is_not_named(run: RunPaths) -> None:
    measures = load_source(run.root).measures
    assert [(m.key, m.head) for m in measures] == [("dsc", "DSC"), ("nsd", "NSD")]


def test_overall_and_dataset_cells_are_the_tables_values(four: RunPaths, source: RunSource) -> None:
    overall = overall_table(source, HEADLINE)
    datasets = datasets_table(source, HEADLINE)
    assert overall is not None
    assert datasets is not None
    for model, title in (("nnunet", "nnU-Net (specialists)"), ("sat-nano", "SAT-Nano")):
        row = next(r for r in overall.rows if r[0] == title)
        at = {column.key: entry for column, entry in zip(overall.columns, row, strict=True)}
        expected = printed(
            stored(four, "overall", f"statistic == 'entries' and model == '{model}'")
        )
        assert {key: number(at[key]) for key in KEYS} == pytest.approx(expected)
        row = next(r for r in datasets.rows if r[0] == "WORD")
        at = {column.key: entry for column, entry in zip(datasets.columns, row, strict=True)}
        expected = printed(stored(four, "dataset", f"dataset == 'word' and model == '{model}'"))
        assert {key: number(at[f"{key}:{model}"]) for key in KEYS} == pytest.approx(expected)
    groups = list(dict.fromkeys(c.group for c in datasets.columns if c.group))
    assert [group.removesuffix(", native, present-only") for group in groups] == [
        "DSC", "NSD 1 mm", "NSD 2 mm", "Volume difference (ml)", "Relative volume error",
    ]  # fmt: skip
    assert "volume difference in ml" in datasets.caption


def test_bold_follows_the_direction_and_spares_what_has_none(source: RunSource) -> None:
    datasets = datasets_table(source, HEADLINE)
    assert datasets is not None
    best = {datasets.columns[column].key for _, column in best_cells(datasets)}
    # In every entry the specialists overlap better and have the smaller error of volume.
    assert best == {f"{key}:nnunet" for key in RANKED}
    regions = regions_table(source, HEADLINE)
    assert regions is not None
    starts = sorted(regions.blocks)
    blocks = {regions.blocks[max(s for s in starts if s <= row)] for row, _ in best_cells(regions)}
    assert blocks == {"DSC", "NSD 1 mm", "NSD 2 mm", "Relative volume error"}
    assert {regions.rows[row][0] for row, _ in best_cells(regions)} == {"nnU-Net (specialists)"}


def test_the_lowest_is_bold_where_lower_is_better() -> None:
    from reports.layout.report_table import ReportColumn

    name, low = ReportColumn("n", "N"), ReportColumn("a", "A", digits=1, ranked="a", lower=True)
    table = ReportTable("t", "T", "c", (name, low), (("x", 3.0), ("y", 2.0)), downwards=True)
    assert best_cells(table) == {(1, 1)}
    rows = (("x", 3.0), ("y", 2.0), ("z", 3.0), ("w", 2.0))
    high = ReportColumn("a", "A", digits=1, ranked="a")
    mixed = ReportTable("t", "T", "c", (name, high), rows, {0: "high", 2: "low"}, downwards=True,
                        lower=frozenset({2, 3}))  # fmt: skip
    assert best_cells(mixed) == {(0, 1), (3, 1)}


def test_ranks_and_pairs_hold_every_measure_with_a_direction(source: RunSource) -> None:
    ranks = ranks_table(source, HEADLINE)
    pairs = pairs_table(source, HEADLINE)
    assert ranks is not None
    assert pairs is not None
    assert [column.key for column in ranks.columns[1:]] == [f"rank:{key}" for key in RANKED]
    # Least error of volume is the first rank, as the highest overlap is.
    for title, rank in (("nnU-Net (specialists)", "1"), ("SAT-Nano", "2")):
        for row in (r for r in ranks.rows if r[0] == title):
            assert {str(entry).split()[0] for entry in row[1:]} == {rank}
    assert "the lowest relative volume error is first" in ranks.caption
    titles = [str(row[0]) for row in pairs.rows]
    assert titles == ["DSC", "NSD 1 mm", "NSD 2 mm", "Relative volume error"]
    differences = dict(zip(titles, (row[3] for row in pairs.rows), strict=True))
    # The specialists, named first, are better by every measure: their error is the lower one.
    assert all(value > 0 for value in differences.values())
    assert "of relative volume error B − A" in pairs.caption


def test_figures_show_every_measure_and_their_values(four: RunPaths, source: RunSource) -> None:
    with drawing():
        found = {
            item.name: item
            for part in all_figures(source, load_case_rows(four))
            for item in part.drawings
        }
    for first, keys in (
        ("regions", KEYS), ("score_against_size", KEYS), ("wins_and_losses", RANKED),
    ):  # fmt: skip
        data = found[first].data | found[f"{first}_2"].data
        assert list(data) == keys, first
    assert [*found["classes_1"].data, *found["classes_2_1"].data] == KEYS
    bars = found["regions"].data | found["regions_2"].data
    expected = stored(
        four, "region", "model == 'sat-nano' and region == 'abdomen' and scheme == 'anatomical' "
        "and composition == 'all'",
    )  # fmt: skip
    heights = {key: bars[key]["sat-nano"][0] for key in KEYS}
    assert heights == pytest.approx(printed(expected))
    assert heights["volume_difference"] < 0
    for key in RANKED:
        wins = found["wins_and_losses"].data | found["wins_and_losses_2"].data
        won, lost, total = wins[key]["sat-nano>nnunet"]
        assert won < lost <= total == 23
        ranks = found["rank_stability"].data | found["rank_stability_2"].data
        assert ranks[f"{key}:mean-then-rank:nnunet"] == 1
        differences = found["differences"].data | found["differences_2"].data
        assert differences[f"{key}:all:nnunet"] < 0
    against = {name for name in found if name.startswith("dsc_against_")}
    assert against == {f"dsc_against_{key}" for key in KEYS[1:]}


def test_pages_of_measures_are_even(source: RunSource) -> None:
    sizes = [len(page.measures) for page in pages_of(source.measures)]
    assert sizes == [3, 2]
    four_pages = pages_of(source.measures[:4])
    assert [len(page.measures) for page in four_pages] == [2, 2]
    assert [page.suffix for page in four_pages] == ["", "_2"]
    assert four_pages[1].words == ": NSD 2 mm and volume difference"
    (alone,) = pages_of(source.measures[:2])
    assert (alone.suffix, alone.words) == ("", "")


def test_the_board_has_every_measure_in_its_unit(four: RunPaths, source: RunSource) -> None:
    payload = board_payload(source, load_case_rows(four))
    assert [m["id"] for m in payload["measures"]] == KEYS
    units = {m["id"]: (m["unit"], m["better"]) for m in payload["measures"]}
    assert units["volume_difference"] == ("ml", "")
    assert units["relative_volume_error"] == ("%", "lower")
    means = pd.DataFrame(payload["numbers"]["means"])
    key = payload["keys"].index({"level": "overall", "id": "entries"})
    model = [m["id"] for m in payload["models"]].index("nnunet")
    means = means[(means["key"] == key) & (means["model"] == model) & (means["setting"] == 0)]
    expected = printed(stored(four, "overall", "statistic == 'entries' and model == 'nnunet'"))
    assert means.set_index("measure")["value"].to_dict() == pytest.approx(expected, rel=1e-3)
    ranks = pd.DataFrame(payload["numbers"]["ranks"])
    ranks = ranks[(ranks["setting"] == 0) & (ranks["model"] == model)].set_index("measure")["rank"]
    assert ranks.to_dict() == dict.fromkeys(RANKED, 1)
    cases = pd.DataFrame(payload["numbers"]["cases"])
    assert set(cases["measure"]) == set(KEYS)
    notes = " ".join(payload["meta"]["notes"])
    assert "100 in relative volume error" in notes
    assert "Nobody is ranked by volume difference" in notes


def test_single_cases_have_the_values_of_their_tolerance(four: RunPaths, source: RunSource) -> None:
    rows = load_case_rows(four)
    raw = pd.read_parquet(four.scores("nnunet", "word"))
    raw = raw[raw["status"] == "scored"]
    for measure in source.measures:
        frame = rows.frame(HEADLINE, measure)
        frame = frame[(frame["model"] == "nnunet") & (frame["dataset"] == "word")]
        found = frame.dropna(subset="value").astype({"case": str, "class": str})
        found = found.set_index(["case", "class"])["value"]
        at = measure.tolerance_mm if measure.metric.has_tolerance else 1.0
        truth = raw[raw["tolerance_mm"] == at].set_index(["case", "class"])[measure.metric.id]
        assert found.to_dict() == pytest.approx(truth.to_dict())


def test_tables_and_drill_down_take_the_same_answer_for_a_generated_class(tmp_path: Path) -> None:
    """Kidney is predicted as a union by all, and directly by one model, with other scores."""
    scores = four_metrics(small_scores(lost=False))
    rows = scores.rows.astype({"kind": str})
    asked = (rows["model"] == "nnunet") & (rows["class"] == "kidney")
    direct = rows[asked].assign(kind="direct", dsc=rows["dsc"] - 0.3, nsd=rows["nsd"] - 0.3)
    assert len(direct)
    both = replace(scores, rows=pd.concat([rows, direct], ignore_index=True))
    settings = {"metrics": FOUR_METRICS, "tolerance_mm": [1.0, 2.0]}
    paths = write_run(tmp_path / "both", both, list(ENTRIES), **settings)
    source, cases = load_source(paths.root), load_case_rows(paths)
    table = source.pick("dataset_class", HEADLINE)
    assert table is not None
    table = table[table["preferred"]].astype({"class": str})
    kinds = table[(table["class"] == "kidney") & (table["model"] == "nnunet")]["kind"]
    assert set(kinds) == {"direct"}
    for measure in source.measures:
        expected = table[table["measure"] == measure.key]
        expected = expected.set_index(["model", "dataset", "class"])["value"].dropna()
        frame = cases.frame(HEADLINE, measure).astype({"model": str, "dataset": str, "class": str})
        found = frame.groupby(["model", "dataset", "class"])["value"].mean().dropna()
        assert found.to_dict() == pytest.approx(expected.to_dict())


def test_measured_by_names_what_any_score_file_says(tmp_path: Path) -> None:
    paths = write_run(tmp_path / "two", small_scores(), list(ENTRIES))
    files = sorted((paths.root / "scores").glob("*/*.parquet"))
    assert len(files) == 15
    table = scores_table()
    last = read_table(files[-1], table)
    write_table(files[-1], last.assign(implementation="another", version="7"), table)
    surfaces = "(surface-element surfaces)"
    measured_by = load_source(paths.root).implementation
    assert measured_by == f"another 7 {surfaces}, synthetic 1 {surfaces}"


@pytest.mark.long
def test_the_whole_report_renders(four: RunPaths, tmp_path: Path) -> None:
    record = json.loads(render_report(four.root, tmp_path, pictures=3).read_text())
    missing = {name for part in record["parts"].values() for name in part["missing"]}
    expected = ("picture", "leakage", "cost", "run time", "figure: annotations", "figure: cost")
    assert all(name.startswith(expected) for name in missing), missing
    text = (tmp_path / "export" / "scores.csv.gz").read_bytes()
    assert len(text) > 1000
    columns = pd.read_csv(tmp_path / "export" / "scores.csv.gz", nrows=1).columns
    assert {"volume_difference", "relative_volume_error"} <= set(columns)
    words = pd.read_csv(tmp_path / "export" / "data_dictionary.csv", keep_default_na=False)
    of_scores = words[words["table"] == "scores"].set_index("column")
    assert of_scores.loc["volume_difference", "unit"].endswith("ml")
    for table in all_tables(load_source(four.root))[0]:
        assert to_csv(table) == (tmp_path / "tables" / f"{table.name}.csv").read_text()


def test_a_run_of_one_signed_metric_ranks_nobody(source: RunSource) -> None:
    tables = {
        name: frame[frame["metric"] == "volume_difference"] if "metric" in frame else frame
        for name, frame in source.tables.items()
    }
    alone = RunSource(source.paths, source.config, tables, source.published, source.not_run)
    assert alone.ranked == ()
    made, missing = all_tables(alone)
    names = {table.name for table in made}
    assert {"overall", "datasets", "regions"} <= names
    assert {"ranks", "pairs"}.isdisjoint(names)
    assert not any("compar" in name for name in missing)
    assert not any(best_cells(table) for table in made)
    assert "Bold" not in next(table for table in made if table.name == "overall").caption
    with drawing():
        found = all_figures(alone, load_case_rows(source.paths))
        drawn = {part.what: part.drawings for part in found}
    assert drawn["region-wise bars (native, present-only)"]
    assert not any(name.startswith(("wins", "rank", "differences")) for name in drawn)


def test_a_mean_over_fewer_values_says_so_and_is_never_the_best(source: RunSource) -> None:
    frame = source.tables["overall"].copy()
    lacking = (frame["model"] == "nnunet") & (frame["metric"] == "relative_volume_error")
    frame.loc[lacking, "n_scores"] -= 1
    tables = {**source.tables, "overall": frame}
    partial = RunSource(source.paths, source.config, tables, source.published, source.not_run)
    table = overall_table(partial, HEADLINE)
    assert table is not None
    at = [column.key for column in table.columns].index("relative_volume_error")
    noted = [row[at] for row in table.rows if isinstance(row[at], ReportCell)]
    assert len(noted) == 3, "one for each kind of overall mean"
    assert {cell.note.split()[-1] for cell in noted if isinstance(cell, ReportCell)} == {"values"}
    best = {column for _, column in best_cells(table)}
    assert at not in best
    assert at - 2 not in best, "a signed difference"
    assert 2 in best
    ids = BoardIds.of(partial)
    board = means(partial, HEADLINE, ids).query("undefined > 0")
    assert set(board["model"]) == {ids.models["nnunet"]}
    assert set(board["measure"]) == {"relative_volume_error"}


def test_goodness_follows_the_direction() -> None:
    values = np.array([-2.0, 0.5, 1.0])
    best = {
        name: values[Measure(find_metric(name), np.nan).goodness(values).argmax()]
        for name in ("dsc", "relative_volume_error", "volume_difference")
    }
    assert best == {"dsc": 1.0, "relative_volume_error": -2.0, "volume_difference": 0.5}
