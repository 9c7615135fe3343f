"""Reports of many models with names of any length and script."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.files.card_places import cards_of
from evaluation.protocol import Protocol
from reports.figures.choice import LABEL_COLUMNS, choose, model_label
from reports.figures.comparison import rank_figures, wins_figures
from reports.figures.scatter import BINS, size_figures
from reports.layout.fonts import missing_signs
from reports.layout.latex import (
    WIDTH_CHARACTERS,
    _parts,
    _widths,
    document,
    latex_escape,
    to_latex,
)
from reports.layout.naming import broken, columns_of_text, shortened
from reports.layout.style import drawing
from reports.rendering import render_report
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.tables.catalogue import all_tables
from reports.tables.classes import classes_table
from tests.reports.many_models import LONG, many_titles, write_many

HEADLINE = Protocol()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunSource]:
    root = tmp_path_factory.mktemp("results") / "many"
    write_many(root, 14)
    with cards_of(root):
        yield load_source(root)


def test_names_fit_and_stay_different() -> None:
    names = {"a": LONG, "b": LONG.replace("v1.2", "v1.3"), "c": "多器官分割网络" * 4, "d": "plain"}
    short = shortened(names, 24)
    assert len(set(short.values())) == 4
    assert all(columns_of_text(name) <= 24 for name in short.values())
    assert short["d"] == "plain"
    assert short["a"].endswith("[a]")
    assert broken("one two-three " + "x" * 9, 7) == ["one", "two-thr", "ee", "xxxxxxx", "xx"]
    assert broken("多器官分割", 4) == ["多器", "官分", "割"]


def test_two_models_of_one_title_are_told_apart(source: RunSource) -> None:
    titles = {source.model_title(m) for m in source.models}
    assert len(titles) == len(source.models)
    assert source.model_title("model-04") == "Twin & Sons 100 %_#{net} [model-04]"
    assert source.model_title("model-08") == "Network 0", "others are called as their cards say"


def test_a_figure_shows_the_first_the_best_and_those_asked_for(source: RunSource) -> None:
    choice = choose(source, 5)
    assert choice.models == ["model-00", *(f"model-{i}" for i in range(10, 14))]
    assert "5 of 14 models" in choice.words
    asked = choose(replace(source, asked_for=("model-03",)), 5)
    assert {"model-00", "model-03", "model-13"} <= set(asked.models)
    assert len(asked.models) == 5
    assert "Сеть" in asked.words
    assert choose(source, 14).models == source.shown
    assert "Shown" not in choose(source, 14).words


def test_labels_are_short_different_and_have_no_empty_boxes(source: RunSource) -> None:
    labels = [model_label(source, m) for m in source.models]
    assert len(set(labels)) == 14
    for model, label in zip(source.models, labels, strict=True):
        assert columns_of_text(label) <= LABEL_COLUMNS
        assert not missing_signs(label)
        if missing_signs(source.model_title(model)):
            assert label == model


def test_points_stay_in_their_bins(source: RunSource) -> None:
    rows = load_case_rows(source.paths)
    volumes = rows.frame(HEADLINE, source.lead).query("reference_ml > 0")["reference_ml"]
    with drawing():
        (figure,) = size_figures(source, HEADLINE, rows)
        width = np.ptp(np.log10(np.quantile(volumes, [0.002, 0.998]))) / BINS
        places = [np.log10(line.get_xdata()) for line in figure.figure.axes[0].get_lines()]
    assert len(places) == 8
    for x in places:
        inside = np.abs((x - places[0]) + 0) < width
        assert inside.all()


def test_cell_texts_do_not_run_into_each_other(source: RunSource) -> None:
    with drawing():
        for item in wins_figures(source, HEADLINE):
            axes = item.figure.axes[0]
            item.figure.draw_without_rendering()
            room = axes.transData.transform([(0, 0), (1, 0)])[1, 0]
            room -= axes.transData.transform((0, 0))[0]
            widths = [text.get_window_extent().width for text in axes.texts]
            assert len(widths) == 12 * 11
            assert max(widths) < room


def test_ranks_of_models_that_are_shown_are_those_among_all(source: RunSource) -> None:
    with drawing():
        (figure,) = rank_figures(source, HEADLINE)
    ranks = [v for k, v in figure.data.items() if k.startswith("dsc:mean-then-rank")]
    assert sorted(ranks) == list(range(1, 15))


def test_a_wide_table_becomes_parts_of_one_number(source: RunSource) -> None:
    table = classes_table(source, HEADLINE)
    assert table is not None
    text = to_latex(table)
    floats = text.split(r"\begin{table}")[1:]
    assert len(floats) > 2
    assert text.count(r"\label{tab:classes}") == 1
    assert text.count(r"\addtocounter{table}{-1}") == len(floats) - 1
    heads = [re.search(r"\\begin\{tabular\}\{(\w+)\}", part) for part in floats]
    columns = [len(found[1]) for found in heads if found]
    # Five columns say of what a row is; each float has them again.
    assert sum(n - 5 for n in columns) == len(table.columns) - 5
    assert max(columns) < 15
    assert "Target" in floats[-1]
    assert text.count(r"\textbf{") >= 2 * len(table.rows)
    assert LONG in text, "a note says what a shortened head stands for"
    assert latex_escape("[x] a*b") == "{[}x] a{*}b"
    assert latex_escape("Δίκτυο, τ = 1") == r"Δίκτυο, \ensuremath{\tau} = 1"


def test_tables_are_set_at_a_readable_size(source: RunSource) -> None:
    """No part is wider than a page in footnote size, but for texts that cannot be told apart."""
    for table in all_tables(source)[0]:
        parts = _parts(table)
        if len(parts) == 1:
            continue
        first = [c.key for c in parts[0].columns]
        kept = [key for key in first if all(key in [c.key for c in p.columns] for p in parts)]
        for part in parts:
            assert sum(_widths(part)) <= WIDTH_CHARACTERS, table.name
            assert [c.key for c in part.columns[: len(kept)]] == kept
        shown = [c.key for part in parts for c in part.columns if c.key not in kept]
        assert [*kept, *shown] == [c.key for c in table.columns]


def test_titles_are_set_with_any_signs(source: RunSource, tmp_path: Path) -> None:
    """With LuaLaTeX on this machine all tables go through it; without, their structure is seen."""
    made = all_tables(source)[0]
    for table in made:
        text = to_latex(table)
        plain = re.sub(r"\\\\|\\[{}]", "", text)
        assert plain.count("{") == plain.count("}")
        (tmp_path / f"{table.name}.tex").write_text(text, encoding="utf-8")
    (tmp_path / "all.tex").write_text(document([t.name for t in made]), encoding="utf-8")
    if shutil.which("lualatex"):
        subprocess.run(
            ["lualatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 14, 40])
def test_every_part_of_a_report_of_many(number: int, tmp_path: Path) -> None:
    root = tmp_path / "many"
    write_many(root, number)
    out = tmp_path / "out"
    render_report(root, out, ["tables", "figures", "leaderboard"], 0)
    board = (out / "leaderboard.html").read_text(encoding="utf-8")
    assert all(f'"id":"{name}"' in board.replace(" ", "") for name in many_titles(number))
    for name in ("regions", "score_against_size", "wins_and_losses", "rank_stability"):
        assert (out / "figures" / f"{name}.pdf").is_file()
