"""A run of distances and of lesion scores alone: undefined values, units, what is counted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation.metrics.catalogue import all_metrics
from evaluation.protocol import Protocol
from reports.figures.cases import case_figures
from reports.figures.scatter import agreement_figures
from reports.layout.latex import to_latex
from reports.layout.report_table import ReportCell, ReportTable, best_cells
from reports.layout.style import drawing
from reports.leaderboard.rows import BoardIds, means
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.tables.cases import case_tables
from reports.tables.classes import datasets_table
from reports.tables.comparisons import pairs_table
from reports.tables.overall import overall_table, ranks_table
from tests.reports.conftest import small_scores, write_run

HEADLINE = Protocol()
METRICS = ["hd95", "assd", "lesion_f1", "false_lesions"]
ENTRIES = ["msd_spleen", "msd_liver", "chaos_ct"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunSource:
    """nnU-Net is nearest everywhere, but misses the spleen of a scan."""
    scores = small_scores(lost=False)
    rows = scores.rows[scores.rows["dataset"].isin(ENTRIES)]
    scored = rows["status"] == "scored"
    far = rows["model"].astype(str).map({"nnunet": 1.0, "sat-nano": 5.0, "oracle": 0.0})
    lesion = rows["class"].astype(str).str.contains("tumor") & scored
    rows = rows.assign(
        hd95=(far + rows["dsc"]).where(scored),
        assd=(far / 10 + rows["dsc"] / 10).where(scored),
        lesion_f1=rows["dsc"].where(lesion),
        false_lesions=far.where(lesion),
    )
    missed = (
        (rows["model"] == "nnunet")
        & (rows["dataset"] == "msd_spleen")
        & (rows["case"] == "case-00001")
    )
    assert missed.any()
    rows["status"] = rows["status"].astype(str).where(~missed, "prediction_empty")
    rows.loc[missed, "prediction_voxels"] = 0
    rows.loc[missed, ["hd95", "assd"]] = np.nan
    root = tmp_path_factory.mktemp("results") / "distances"
    rows = rows.drop(columns=["dsc", "nsd"])
    write_run(root, replace(scores, rows=rows), ENTRIES, metrics=METRICS)
    return load_source(root)


def column(table: ReportTable, key: str) -> int:
    return [c.key for c in table.columns].index(key)


def test_a_mean_without_a_missed_structure_is_never_the_best(source: RunSource) -> None:
    datasets = datasets_table(source, HEADLINE)
    assert datasets is not None
    row = next(i for i, r in enumerate(datasets.rows) if r[0] == "MSD Spleen")
    at = column(datasets, "hd95:nnunet")
    cell = datasets.rows[row][at]
    assert isinstance(cell, ReportCell)
    assert (cell.note, cell.competes) == ("10 of 11 values", False)
    best = best_cells(datasets)
    assert (row, at) not in best
    other = next(i for i, r in enumerate(datasets.rows) if r[0] == "MSD Liver")
    assert (other, at) in best
    # Nor is the model ranked: not in the tables, not on the board.
    ranks = ranks_table(source, HEADLINE)
    assert ranks is not None
    ranked = {c.key for c, entry in zip(ranks.columns, ranks.rows[1], strict=True) if entry != "–"}
    assert ranked == {"model", "rank:lesion_f1", "rank:false_lesions"}
    ids = BoardIds.of(source)
    board = means(source, HEADLINE, ids)
    overall = board[board["key"] == ids.keys["overall", "entries"]]
    lacking = overall[~overall["complete"]]
    assert set(zip(lacking["model"], lacking["measure"], strict=True)) == {
        (ids.models["nnunet"], "hd95"), (ids.models["nnunet"], "assd"),
    }  # fmt: skip
    assert set(lacking["undefined"]) == {1}


def test_units_are_said_of_what_is_shown(source: RunSource) -> None:
    datasets, overall = datasets_table(source, HEADLINE), overall_table(source, HEADLINE)
    pairs = pairs_table(source, HEADLINE)
    assert datasets is not None
    assert overall is not None
    assert pairs is not None
    assert "In mm. " in datasets.caption
    assert "HD95 and ASSD in mm, lesion F1 in percent" in overall.caption
    assert "macro means (HD95 and ASSD in mm, lesion F1 in points), with" in pairs.caption
    assert "HD95, ASSD and false lesions B − A" in pairs.caption


def test_lesions_are_asked_of_lesion_classes_alone(source: RunSource) -> None:
    frame = source.pick("overall", HEADLINE)
    assert frame is not None
    frame = frame[(frame["statistic"] == "entries") & (frame["model"] == "sat-nano")]
    sizes = frame.set_index("measure")
    names = ["n_entries_expected", "n_classes_expected", "n_cases_expected"]
    assert sizes.loc["lesion_f1", names].tolist() == [1, 1, 14]
    assert sizes.loc["hd95", names].tolist() == [4, 5, 38]  # with SLIVER07, which has no data


def test_tables_and_figures_of_cases_leave_out_what_nobody_counts(source: RunSource) -> None:
    rows = load_case_rows(source.paths)
    tables = {t.name: t for t in case_tables(source, HEADLINE, rows)}
    keys = [c.key for c in tables["cases_msd_liver"].columns]
    assert "lesion_f1:liver tumor" in keys
    assert "lesion_f1:liver" not in keys
    spleen = tables["cases_msd_spleen"]
    assert [c.key for c in spleen.columns] == ["case", "hd95:spleen", "assd:spleen"]
    assert "in mm;" in spleen.caption
    with drawing():
        drawn = {d.name: list(d.data) for d in case_figures(source, HEADLINE, rows)}
        against = {d.name: d.figure for d in agreement_figures(source, HEADLINE)}
    assert drawn["cases_msd_spleen"] == ["hd95", "assd"]
    # Distances of a few mm are not drawn into a square of 100.
    (axes,) = against["hd95_against_assd"].axes
    assert max(*axes.get_xlim(), *axes.get_ylim()) < 20


def test_an_interval_stays_beside_its_mean_in_print(source: RunSource) -> None:
    overall = overall_table(source, HEADLINE)
    assert overall is not None
    wide = replace(
        overall,
        columns=(*overall.columns[:2], *overall.columns[2:] * 3),
        rows=tuple((*row[:2], *row[2:] * 3) for row in overall.rows),
    )
    heads = [line for line in to_latex(wide).splitlines() if line.startswith("Model & ")]
    assert len(heads) > 3
    assert not any("interval" in head.split(" & ")[1] for head in heads)


def test_no_metric_rewards_a_failed_prediction() -> None:
    """The worst value, or none; what an empty answer has only where that is no merit."""
    for metric in all_metrics().values():
        if metric.direction == "lower":
            assert metric.missing is not None, metric.id
            assert math.isnan(metric.missing) or metric.missing > metric.low, metric.id
