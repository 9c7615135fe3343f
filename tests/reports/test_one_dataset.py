"""The report of one dataset with few classes: every case is shown, and what says nothing is not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from evaluation.files.reading import json_of
from evaluation.protocol import Protocol
from reports.figures.cases import case_figures
from reports.layout.style import drawing
from reports.rendering import render_report
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.tables.cases import case_tables
from tests.bench.score_rows import synthetic_scores
from tests.reports.conftest import shape_of, write_run

HEADLINE = Protocol()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores = synthetic_scores({"sat-nano": 0.0, "nnunet": 0.03}, shape_of({"acdc": 14}), seed=2)
    scores.rows[["dsc", "nsd"]] = scores.rows[["dsc", "nsd"]].clip(0, 1)
    root = tmp_path_factory.mktemp("results") / "one"
    write_run(root, scores, ["acdc"])
    return root


def test_every_case_is_a_point_and_a_row(root: Path) -> None:
    source = load_source(root)
    rows = load_case_rows(source.paths)
    with drawing():
        (figure,) = case_figures(source, HEADLINE, rows)
    (table,) = case_tables(source, HEADLINE, rows)
    frame = rows.frame(HEADLINE, source.lead)
    for model in ("sat-nano", "nnunet"):
        of_class = frame[(frame["model"] == model) & (frame["class"] == "myocardium")]
        values = np.sort(100 * of_class["value"].dropna())
        assert len(values) > 5
        assert np.sort(figure.data["dsc"][f"myocardium:{model}"]) == pytest.approx(values)
        start = next(at for at, name in table.blocks.items() if name == source.model_title(model))
        place = [column.key for column in table.columns].index("dsc:myocardium")
        held = [row[place] for row in table.rows[start : start + 14]]
        assert np.sort([v for v in held if v is not None]) == pytest.approx(values)
    assert len(table.rows) == 2 * 14


def test_results_come_first_and_what_says_nothing_is_left_out(root: Path, tmp_path: Path) -> None:
    out = render_report(root, tmp_path / "out", ("tables", "figures")).parent
    page = (out / "index.html").read_text()
    heads = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert heads == [
        "Overall results", "Class-wise results", "Results", "Models and data", "Tables",
        "Not available",
    ]  # fmt: skip
    parts = json_of(out / "report.json")["parts"]
    drawn = [item["name"] for item in parts["figures"]["items"] if "name" in item]
    assert drawn == ["classes_1", "cases_acdc", "rank_stability", "model_size"]
    missing = parts["figures"]["missing"]
    assert missing["figure: statistics of the collection"] == "one dataset is no collection"
    assert "one region" in missing["figure: region-wise bars (native, present-only)"]
    assert "4 pairs" in missing["figure: wins and losses (native, present-only)"]
    for why in missing.values():
        assert why in page
    # Letters are as tall on the page whatever the width of the print.
    wide = {item["name"]: item["width_mm"] for item in parts["figures"]["items"] if "name" in item}
    assert (wide["cases_acdc"], wide["model_size"]) == (183, 120)
    assert 'src="figures/cases_acdc.png" alt="Every case of ACDC" style="width:1116px"' in page
    assert 'src="figures/model_size.png" alt="Model size" style="width:732px"' in page
