"""Figures: their data, their palette, their files."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.metrics.catalogue import find_metric
from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from reports.figures.classes import class_figures
from reports.figures.comparison import forest_figures, rank_figures, wins_figures
from reports.figures.cost import cost_figure, model_size_figure
from reports.figures.regions import regions_figures
from reports.figures.scatter import size_figures
from reports.layout.style import (
    COLOURS,
    INK,
    WIDTH_MM,
    canvas,
    contrast,
    drawing,
    looks,
    luminance,
    save,
)
from reports.source.cases import CaseRows, extremes, load_case_rows
from reports.source.loading import load_source
from reports.source.measures import Measure
from reports.source.run import RunSource

HEADLINE = Protocol()


@pytest.fixture(scope="module")
def source(run: RunPaths) -> RunSource:
    return load_source(run.root)


@pytest.fixture(scope="module")
def rows(run: RunPaths) -> CaseRows:
    return load_case_rows(run)


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


# Viénot, Brettel and Mollon (1999): dichromats' view in linear RGB.
_PROTANOPIA = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
_DEUTERANOPIA = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = (xyz @ np.clip(linear, 0, 1)) / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("view", [np.eye(3), _PROTANOPIA, _DEUTERANOPIA])
def test_colours_stay_apart_under_colour_vision_deficiency(view: np.ndarray) -> None:
    labs = [_lab(view @ _linear(c)) for c in COLOURS[:6]]
    distances = [float(np.linalg.norm(a - b)) for a, b in combinations(labs, 2)]
    assert min(distances) > 10


def test_neighbouring_series_differ_in_grey_or_hatch() -> None:
    names = [f"m{i}" for i in range(24)]
    found = looks(names)
    assert len({(v.colour, v.hatch) for v in found.values()}) == 24
    for one, two in combinations(list(found.values())[:8], 2):
        assert one.hatch != two.hatch
        assert one.marker != two.marker
    assert abs(luminance(COLOURS[0]) - luminance(COLOURS[1])) > 0.2
    assert contrast(INK, "#FFFFFF") > 7


def test_bars_show_the_tables_values_and_published_ones(
    source: RunSource, some_rows: RunSource, paper: RunSource
) -> None:
    with drawing():
        (found,) = regions_figures(paper, HEADLINE)
        # Virtual patients, and a few rows of the paper, have no published mean of a region.
        for other in (source, some_rows):
            (alone,) = regions_figures(other, HEADLINE)
            assert set(alone.data["dsc"]) == {"sat-nano", "nnunet"}
            assert "ublished" not in alone.caption
    frame = source.pick("region", HEADLINE)
    assert frame is not None
    row = frame.query(
        "scheme == 'anatomical' and composition == 'all' and region == 'abdomen' "
        "and model == 'nnunet' and metric == 'dsc'"
    ).iloc[0]
    assert found.data["dsc"]["nnunet"][0] == pytest.approx(100 * row["value"])
    assert found.data["dsc"]["nnunet:published"][0] == pytest.approx(89.30)
    assert "oracle" not in found.data["dsc"]
    assert "present-only" in found.caption


def test_forest_shows_the_first_model_minus_the_other(source: RunSource) -> None:
    with drawing():
        (found,) = forest_figures(source, HEADLINE)
    overall = source.pick("overall", HEADLINE)
    assert overall is not None
    means = overall.query("statistic == 'entries' and metric == 'dsc'").set_index("model")["value"]
    expected = 100 * (means["sat-nano"] - means["nnunet"])
    assert found.data["dsc:all:nnunet"] == pytest.approx(expected, abs=1e-6)
    assert found.data["dsc:all:nnunet"] < 0


def test_wins_losses_and_ranks(source: RunSource) -> None:
    with drawing():
        (wins,) = wins_figures(source, HEADLINE)
    won, lost, total = wins.data["dsc"]["sat-nano>nnunet"]
    assert won + lost <= total == 23
    assert lost > won


def test_only_complete_models_stand_in_the_rank_figure(source: RunSource) -> None:
    ranks = source.tables["ranks"]
    with drawing():
        # 17 of SAT-Nano's predictions are missing, and nobody is left to compare nnU-Net with.
        assert rank_figures(source, HEADLINE) == []
        whole = ranks.assign(rank=ranks["rank"].fillna(2.0), complete=True)
        complete = replace(source, tables={**source.tables, "ranks": whole})
        (figure,) = rank_figures(complete, HEADLINE)
    assert figure.data["dsc:mean-then-rank:nnunet"] == 1
    assert figure.data["dsc:mean-then-rank:sat-nano"] == 2


def test_class_dots_cover_every_class_once(source: RunSource) -> None:
    with drawing():
        pages = class_figures(source, HEADLINE)
    names = [name for page in pages for name, model, _ in page.data["dsc"] if model == "nnunet"]
    assert len(names) == len(set(names)) == 20


def test_size_figure_bins_by_volume(source: RunSource, rows: CaseRows) -> None:
    with drawing():
        (found,) = size_figures(source, HEADLINE, rows)
    assert len(found.data["dsc"]["nnunet"]) > 3


def test_model_sizes_come_from_the_cards(source: RunSource) -> None:
    with drawing():
        found = model_size_figure(source)
    assert found is not None
    assert found.data["sat-nano"] == pytest.approx(107.227, abs=0.01)


def test_the_cost_figure_says_what_was_not_measured(
    source: RunSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("model", "train_seconds", "predict_seconds_per_case", "parameters", "device")
    nothing = float("nan")
    rows = [("sat-nano", 7200.0, 2.0, 1e8, "measured, GPU"), ("nnunet", nothing, 3.0, 1e9, "")]
    cost = pd.DataFrame(rows, columns=columns)
    table = source.table
    monkeypatch.setattr(RunSource, "table", lambda _, name: cost if name == "cost" else table(name))
    with drawing():
        found = cost_figure(source, HEADLINE)
    assert found is not None
    assert "Not measured: training of nnU-Net" in found.caption
    assert "train_seconds:nnunet" not in found.data
    assert found.data["train_seconds:sat-nano"][0] == 2


def test_files_have_journal_widths_embedded_fonts_and_no_date(tmp_path: Path) -> None:
    with drawing():
        figure, axes = canvas("single", 40)
        axes.plot([0, 1], label="AVo")
        axes.set_title("Title")
        paths = save(figure, tmp_path / "figure")
        first = [p.read_bytes() for p in paths]
        assert [p.read_bytes() for p in save(figure, tmp_path / "figure")] == first
    pdf, svg, _ = paths
    content = pdf.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)
    assert box is not None
    assert float(box[1]) * 25.4 / 72 == pytest.approx(WIDTH_MM["single"], abs=0.1)
    text = svg.read_text()
    assert "<text" not in text
    assert "<dc:date>" not in text


@pytest.mark.parametrize(
    ("metric", "ends"),
    [("dsc", "bdc"), ("relative_volume_error", "acd"), ("volume_difference", "acd")],
)
def test_extremes_are_deterministic_and_follow_the_direction(metric: str, ends: str) -> None:
    cases = np.array(["d", "b", "a", "c", "e"])
    measure = Measure(find_metric(metric), np.nan)
    found = extremes(cases, np.array([0.5, 0.5, 0.9, 0.9, np.nan]), measure)
    assert "".join(case for _, case, _ in found) == ends
    assert [which for which, _, _ in found] == ["worst", "median", "best"]
    assert extremes(cases, np.full(5, np.nan), measure) == []


def test_captions_say_policy_grid_and_n(source: RunSource, rows: CaseRows) -> None:
    with drawing():
        drawn = [*regions_figures(source, HEADLINE), *size_figures(source, HEADLINE, rows)]
    assert len(drawn) == 2
    for item in drawn:
        assert "Virtual patients" in item.caption
        assert "native grid, empty-mask policy present-only" in item.caption
        # Three scans have no scored class; SLIVER07 has no data.
        assert "n: 50 of 53 scans, 50 patients, 23 of 24 classes of entries." in item.caption
