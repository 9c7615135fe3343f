"""Tables: numbers, bold, n, published columns, and the three forms."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from evaluation.schema import TABLES, read_table
from reports.layout.latex import latex_escape, to_latex
from reports.layout.report_table import (
    ReportCell,
    ReportColumn,
    ReportTable,
    best_cells,
    to_csv,
    to_markdown,
)
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.source.words import short
from reports.tables.catalogue import all_tables
from reports.tables.classes import classes_table, datasets_table
from reports.tables.collection import specialists_table
from reports.tables.comparisons import sensitivity_table
from reports.tables.overall import overall_table
from reports.tables.regions import lesions_table, regions_table
from tests.reports.conftest import ENTRIES, as_paper, small_scores, write_run

HEADLINE = Protocol()


@pytest.fixture(scope="module")
def source(run: RunPaths) -> RunSource:
    return load_source(run.root)


def _value(table: ReportTable, row: str, column: str) -> object:
    place = [c.key for c in table.columns].index(column)
    entry = next(r for r in table.rows if r[0] == row)[place]
    return entry.value if isinstance(entry, ReportCell) else entry


def test_dataset_table_repeats_the_aggregates(run: RunPaths, some_rows: RunSource) -> None:
    table = datasets_table(some_rows, HEADLINE)
    assert table is not None
    frame = read_table(run.table("dataset"), TABLES["dataset"])
    frame = frame.query(
        "policy == 'present-only' and space == 'native' and view == 'paper' "
        "and coverage == 'supported' and aggregation == 'macro' and dataset == 'msd_spleen'"
    ).set_index(["model", "metric"])
    assert _value(table, "MSD Spleen", "dsc:nnunet") == pytest.approx(
        100 * frame.loc[("nnunet", "dsc"), "value"]
    )
    assert _value(table, "MSD Spleen", "dsc:nnunet:published") == pytest.approx(92.95)
    assert _value(table, "MSD Spleen", "nsd:sat-nano:published") == pytest.approx(83.90)
    assert _value(table, "SLIVER07", "dsc:nnunet") == "not run"
    assert "5 of 6 entries" in table.caption
    assert "17 missing" in to_markdown(table)


def test_each_column_says_its_space_and_policy(some_rows: RunSource) -> None:
    for protocol in some_rows.protocols:
        table = datasets_table(some_rows, protocol)
        assert table is not None
        assert any(column.key.endswith(":published") for column in table.columns)
        for column in table.columns:
            if column.key.endswith(":published"):
                grid = "own grid of 1×1×3 mm" if "sat-nano" in column.key else "1×1×3 mm"
                assert column.group.endswith(f"published, real patients, {grid}, paper")
                assert not column.ranked
            elif ":" in column.key:
                assert column.group.endswith(short(some_rows, protocol))


def test_the_own_grid_stands_beside_the_published_numbers(tmp_path: Path) -> None:
    spaces = ("native", "resampled", "own")
    paths = write_run(tmp_path / "own", small_scores(), list(ENTRIES), spaces)
    loaded = load_source(paths.root)
    for name in ("dataset", "class", "region", "lesion"):
        table = loaded.tables[name]
        table.loc[table["space"] == "own", "value"] *= 0.9
    source = as_paper(loaded, [*ENTRIES, "sliver07"])
    theirs = source.protocols[1]
    ours, beside = (datasets_table(source, protocol) for protocol in source.protocols)
    assert ours is not None
    assert beside is not None
    assert not any(c.key.endswith(":own") for c in ours.columns), "the native table ranks"
    groups = {c.key: c.group for c in beside.columns}
    assert groups["dsc:sat-nano:own"] == "DSC, own grid, paper"
    assert "dsc:nnunet:own" not in groups
    there, resampled = (
        _value(beside, "MSD Spleen", key) for key in ("dsc:sat-nano:own", "dsc:sat-nano")
    )
    assert there == pytest.approx(0.9 * resampled)  # type: ignore[operator]
    regions = regions_table(source, theirs)
    assert regions is not None
    lines = [(line[0], line[1]) for line in regions.rows]
    assert ("SAT-Nano", "own grid, paper") in lines
    assert ("SAT-Nano", "1×1×3 mm, paper") in lines
    numbers = source.published[source.published["ours"].notna()]
    found = numbers.groupby("model", observed=True)["space"].unique()
    assert {model: list(spaces) for model, spaces in found.items()} == {
        "nnunet": ["resampled"], "sat-nano": ["own"],
    }  # fmt: skip


def test_the_paper_protocol_is_a_table_of_its_own(source: RunSource) -> None:
    assert [short(source, p) for p in source.protocols] == [
        "native, present-only",
        "1×1×3 mm, paper",
    ]
    names = [datasets_table(source, p).name for p in source.protocols]  # type: ignore[union-attr]
    assert names == ["datasets", "datasets_resampled_paper"]


def test_region_and_lesion_tables_have_the_papers_columns(paper: RunSource) -> None:
    regions = regions_table(paper, HEADLINE)
    assert regions is not None
    heads = [c.label for c in regions.columns]
    assert heads[2:] == [
        "Abdomen",
        "Brain",
        "H&N",
        "LL",
        "Pelvis",
        "Spine",
        "Thorax",
        "UL",
        "Lesion",
    ]
    assert _value(regions, "nnU-Net (published)", "abdomen") == pytest.approx(89.30)
    lesions = lesions_table(paper, HEADLINE)
    assert lesions is not None
    assert {"BT", "CC", "C-19", "PE", "KT", "L/HC", "LC", "LT", "PT", "Stroke"} <= {
        c.label for c in lesions.columns
    }
    best = {regions.rows[row][0] for row, _ in best_cells(regions)}
    assert best <= {"nnU-Net (specialists)", "SAT-Nano"}


def test_other_runs_have_their_own_columns_alone(source: RunSource) -> None:
    regions = regions_table(source, HEADLINE)
    assert regions is not None
    assert regions.title == "Region-wise results"
    heads = [c.label for c in regions.columns]
    assert heads[2:] == ["Abdomen", "LL", "Pelvis", "Thorax", "Lesion"]
    lesions = lesions_table(source, HEADLINE)
    assert lesions is not None
    assert [c.label for c in lesions.columns[2:]] == ["LT"]
    for table in all_tables(source)[0]:
        text = to_markdown(table)
        for words in ("ublished", "Table 2", "Table 7", "aper's", "as printed", "paper split"):
            assert words not in text, (table.name, words)
    table = classes_table(source, HEADLINE)
    assert table is not None
    frame = source.pick("class", HEADLINE)
    assert frame is not None
    classes = frame.loc[frame["modality"] != "any", ["modality", "class"]].drop_duplicates()
    assert len(table.rows) == len(classes) == 20
    assert list(table.blocks.values())[-1] == "Lesion"


def test_class_tables_are_split_by_region_as_in_the_paper(paper: RunSource) -> None:
    three, four = (
        classes_table(paper, HEADLINE, printed) for printed in paper.study.tables_about("class")
    )
    assert three is not None
    assert four is not None
    assert set(three.blocks.values()) == {"Abdomen", "Pelvis"}
    assert set(four.blocks.values()) == {"Lower limb", "Thorax"}
    rows = {(r[0], r[1]) for r in three.rows}
    assert ("CT", "spleen") in rows
    assert ("MR", "prostate") in rows
    assert ("CT", "liver tumor") not in rows


def test_controls_stay_out_of_the_ranks(source: RunSource) -> None:
    table = overall_table(source, HEADLINE)
    assert table is not None
    ranks = {str(r[0]): str(r[1]) for r in table.rows if r[1]}
    assert ranks["nnU-Net (specialists)"].startswith("1 ")
    # 17 of its predictions are missing: they count 0, and it is not ranked.
    assert ranks["SAT-Nano"] == "incomplete"
    assert ranks["Oracle (control)"] == "–"


def test_overview_says_what_is_not_there(source: RunSource, paper: RunSource) -> None:
    made, missing = all_tables(paper)
    names = {t.name for t in made}
    assert {"collection", "specialists", "vocabulary", "overall", "pairs",
            "completeness", "sensitivity", "claims", "published_differences"} <= names  # fmt: skip
    assert {"cost", "leakage audit"} <= set(missing)
    assert {"classes_3", "classes_4"} <= names
    made, missing = all_tables(source)
    assert {"claims", "published_differences", "classes_3"}.isdisjoint({t.name for t in made})
    ranks = {f"ranks ({short(source, protocol)})" for protocol in source.protocols}
    assert set(missing) == {"cost", "run time", "leakage audit"} | ranks
    assert "fewer than two models answered" in missing["ranks (native, present-only)"]
    one = next(t for t in made if t.name == "collection")
    assert len(one.rows) == 6


def test_specialists_have_their_printed_plan_and_our_count(
    source: RunSource, some_rows: RunSource
) -> None:
    virtual = specialists_table(source)
    assert virtual is not None
    assert "patch_size" not in {column.key for column in virtual.columns}
    config = source.config.model_copy(update={"models": ["sat-nano"]})
    assert specialists_table(replace(source, config=config)) is None
    table = specialists_table(some_rows)
    assert table is not None
    assert _value(table, "msd_spleen", "patch_size") == "64 192 160"
    assert _value(table, "msd_spleen", "width") == "32 64 128 256 320 320"
    assert _value(table, "msd_spleen", "depth") == "2 2 2 2 2 2"
    assert _value(table, "msd_spleen", "printed_size_millions") == 31
    assert _value(table, "msd_spleen", "parameters_millions") == pytest.approx(31.113098)
    assert _value(table, "sliver07", "state") == "not run"


EXAMPLE = ReportTable(
    name="example",
    title="An example",
    caption="50 % of a & b_c",
    columns=(
        ReportColumn("name", "Name"),
        ReportColumn("a", "A", "left, 1×1×3 mm", 1, "s", right=True),
        ReportColumn("b", "B", "left, 1×1×3 mm", 1, "s", right=True),
        ReportColumn("p", "P", "right", 1, right=True),
    ),
    rows=(("x_y", 90.04, 90.01, 99.0), ("z", float("nan"), ReportCell(80.0, "2 missing"), None)),
    blocks={0: "One & all"},
)


def test_bold_goes_by_printed_values_and_never_to_unranked_columns() -> None:
    assert best_cells(EXAMPLE) == {(0, 1), (0, 2)}
    text = to_markdown(EXAMPLE)
    assert "**90.0**" in text
    assert "**99.0**" not in text
    assert "80.0 (2 missing)" in text


def test_csv_is_plain_data() -> None:
    lines = to_csv(EXAMPLE).splitlines()
    assert lines == ["block,name,a,b,p", "One & all,x_y,90.04,90.01,99", "One & all,z,,80,"]


@pytest.mark.parametrize("lines_of_a_page", [50, 1])
def test_latex_is_balanced_booktabs(lines_of_a_page: int) -> None:
    text = to_latex(EXAMPLE, lines_of_a_page)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for begin in re.findall(r"\\begin\{(\w+)\}", text):
        assert f"\\end{{{begin}}}" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"\textbf{90.0}" in text
    for row in [
        line for line in text.splitlines() if line.endswith(r"\\") and "caption" not in line
    ]:
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
        assert len(re.findall(r"(?<!\\)&", row)) + spans == 3, row
    assert r"x\_y" in text
    assert latex_escape("50 %_&#{}~^\\") == (
        r"50 \%\_\&\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    # A minus is no hyphen.
    assert latex_escape("-0.17 to -0.16") == r"\ensuremath{-}0.17 to \ensuremath{-}0.16"
    assert latex_escape("sat-nano, 12-13, x-1") == "sat-nano, 12-13, x-1"
    # As they are, LaTeX's default font encoding prints them as other signs.
    assert latex_escape("<>|`") == (r"\ensuremath{<}\ensuremath{>}\textbar{}\textasciigrave{}")


def test_many_rows_become_floats_of_one_number_and_one_width() -> None:
    text = to_latex(EXAMPLE, lines_of_a_page=1)
    first, second = text.split(r"\end{table}")[:2]
    assert first.count(r"\label") == 1
    assert r"\label" not in second
    assert r"\addtocounter{table}{-1}" in second
    assert r"\textit{One \& all (continued)}" in second
    ruler = r"[-\normalbaselineskip]"
    lines = [line for line in text.splitlines() if line.endswith(ruler)]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert r"\hphantom{\textbf{80.0 (2 missing)}}" in lines[0]


def test_long_texts_are_broken_into_lines() -> None:
    words = "a sentence that is longer than a column of a paper can be"
    table = ReportTable(
        "t", "T", "c", (ReportColumn("a", "A"), ReportColumn("b", "B", right=True)), ((words, 1),)
    )
    assert f"\\parbox[t]{{15em}}{{\\raggedright {words}\\strut}} & 1" in to_latex(table)


def test_sensitivity_ranks_entrants_and_shows_what_flips(source: RunSource) -> None:
    frame = source.table("sensitivity")
    table = sensitivity_table(source)
    assert frame is not None
    assert table is not None
    assert not frame["winner_baseline"].str.contains("oracle").any()
    # SAT-Nano lacks predictions, so there are no two complete models overall: all rows are shown.
    assert len(table.rows) == len(frame)
    assert f"changes in {frame['flips'].sum()} of {len(frame)}" in table.caption


def test_all_tables_compile(source: RunSource, tmp_path: Path) -> None:
    """With a TeX on this machine tables go through it; without one their structure is checked."""
    texts = [to_latex(t) for t in all_tables(source)[0]]
    for text in texts:
        assert text.count(r"\begin") == text.count(r"\end{")
    latex = shutil.which("pdflatex")
    if latex is None:
        return
    body = "\n".join(texts)
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
        rf"\begin{{document}}{body}\end{{document}}"
    )
    done = subprocess.run(
        [latex, "-interaction=nonstopmode", "-halt-on-error", "main.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_a_report_of_controls_alone_still_has_rows(source: RunSource) -> None:
    tables = {k: f[f["model"] == "oracle"] if "model" in f else f for k, f in source.tables.items()}
    alone = RunSource(source.paths, source.config, tables, source.published, source.not_run)
    table = regions_table(alone, HEADLINE)
    assert table is not None
    assert "Oracle (control)" in {r[0] for r in table.rows}
    assert isinstance(pd.DataFrame(table.rows), pd.DataFrame)
