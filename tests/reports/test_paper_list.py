"""The list of the paper's tables and figures, each with our file, against a rendered run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evaluation.paths import RunPaths
from evaluation.protocol import Protocol
from reports.figures.annotations import annotation_figures
from reports.figures.catalogue import all_figures
from reports.layout.report_table import ReportCell, ReportTable
from reports.layout.style import drawing
from reports.leaderboard.rows import BoardIds, means
from reports.source.cases import load_case_rows
from reports.source.loading import load_source
from reports.source.run import RunSource
from reports.tables.catalogue import all_tables
from reports.tables.classes import merged_classes_table
from reports.tables.collection import collection_table
from reports.tables.regions import regions_table

HEADLINE = Protocol()
LIST = Path(__file__).resolve().parents[2] / "docs/pages/figures.md"
PAPER = {*(f"Table {n}" for n in range(1, 9)), *(f"Fig. {n}" for n in range(1, 8))}
SCHEMATIC = {"Fig. 1", "Fig. 3", "Fig. 5"}


def merged(source: RunSource) -> RunSource:
    """The same run with a spleen in MR, half as good, and the two merged as the tables do it."""
    classes = source.tables["class"]
    spleen = classes[(classes["class"] == "spleen") & (classes["modality"] == "ct")]
    assert len(spleen)
    other = spleen.assign(modality="mri", value=spleen["value"] / 2)
    both = spleen.assign(modality="any", value=0.75 * spleen["value"])
    tables = {**source.tables, "class": pd.concat([classes, other, both], ignore_index=True)}
    return replace(source, tables=tables)


@pytest.fixture(scope="module")
def source(run: RunPaths) -> RunSource:
    return merged(load_source(run.root))


@pytest.fixture(scope="module")
def whole(paper: RunSource) -> RunSource:
    return merged(paper)


def listed() -> dict[str, list[str]]:
    """The paper's name -> our files, of the list in docs/pages/figures.md."""
    text = LIST.read_text(encoding="utf-8").partition("## The paper's tables and figures")[2]
    rows = re.findall(
        r"^\| ((?:Table|Fig\.|Sec\.) [^|]+?) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE
    )
    return {name: re.findall("`([^`]+)`", files) or [files] for name, files in rows}


def test_all_of_the_papers_tables_and_figures_come_out_of_a_run(
    whole: RunSource, run: RunPaths
) -> None:
    known = listed()
    named = {" ".join(name.split()[:2]) for name in known}
    assert named >= PAPER
    assert {name for name, files in known.items() if files == ["schematic"]} == SCHEMATIC
    made = {f"tables/{table.name}" for table in all_tables(whole)[0]}
    with drawing():
        for found in all_figures(whole, load_case_rows(run)):
            made |= {f"figures/{item.name}" for item in found.drawings}
    ours = {file for files in known.values() for file in files} - {"schematic"}
    # The gallery's page is written whatever pictures there are.
    assert ours - {"gallery/index.html"} <= made
    twice = {f for f in ours if f.startswith("tables/classes_") or "regions" in f}
    assert {re.sub(r"(_1)?$", r"_resampled_paper\1", f, count=1) for f in twice} <= made


def _cell(table: ReportTable, row: str, column: str) -> object:
    place = [c.key for c in table.columns].index(column)
    names = [c.key for c in table.columns]
    at = names.index("class") if "class" in names else 0
    entry = next(r for r in table.rows if r[at] == row)[place]
    return entry.value if isinstance(entry, ReportCell) else entry


def test_a_class_of_two_modalities_is_one_row_column_and_dot(source: RunSource) -> None:
    table = merged_classes_table(source, HEADLINE)
    assert table is not None
    names = [row[1] for row in table.rows]
    assert len(names) == len(set(names))
    frame = source.pick("class", HEADLINE)
    assert frame is not None
    ours = frame.query("model == 'nnunet' and measure == 'dsc' and `class` == 'spleen'")
    value = 100 * ours.set_index("modality")["value"]["any"]
    assert _cell(table, "spleen", "dsc:nnunet") == pytest.approx(value)
    assert _cell(table, "spleen", "modality") == "CT and MR"
    ids = BoardIds.of(source)
    held = means(source, HEADLINE, ids)
    held = held[(held["key"] == ids.keys["class", "any|spleen"]) & (held["measure"] == "dsc")]
    assert held.set_index("model")["value"][ids.models["nnunet"]] == pytest.approx(value, rel=1e-3)


def test_rows_as_printed_have_the_papers_order_names_and_regions(whole: RunSource) -> None:
    tables = {table.name: table for table in all_tables(whole)[0]}
    third, fourth = (tables[f"classes_{n}_printed"] for n in (3, 4))
    assert (len(third.rows), len(fourth.rows)) == (40, 48)
    assert list(third.blocks.values()) == ["Abdomen", "Brain", "Pelvis"]
    assert list(fourth.blocks.values()) == [
        "Head and neck", "Lower limb", "Spine", "Thorax", "Upper limb",
    ]  # fmt: skip
    assert fourth.rows[1][1] == "Brain", "of CT, under head and neck"
    assert _cell(fourth, "Clavicular", "dsc:nnunet:published") == pytest.approx(96.03)
    assert _cell(third, "Spleen", "dsc:nnunet") == pytest.approx(
        _cell(tables["classes_3"], "spleen", "dsc:nnunet")
    )


def test_region_means_in_three_compositions(source: RunSource) -> None:
    frame = source.pick("region", HEADLINE)
    assert frame is not None
    seen = set()
    for composition in ("all", "leaves", "merged"):
        table = regions_table(source, HEADLINE, composition)
        assert table is not None
        row = frame[frame["composition"] == composition].query(
            "scheme == 'anatomical' and region == 'abdomen' and model == 'nnunet' "
            "and measure == 'dsc'"
        )
        value = _cell(table, "nnU-Net (specialists)", "abdomen")
        assert value == pytest.approx(100 * row["value"].iloc[0])
        seen.add((table.name, _cell(table, "classes / patients", "abdomen")))
    assert len(seen) == 3
    assert {name for name, _ in seen} == {"regions", "regions_leaves", "regions_merged"}


def test_annotations_are_counted_from_the_runs_cases(source: RunSource) -> None:
    table = collection_table(source)
    counted = _cell(table, "MSD Spleen", "annotations")
    assert counted == 12, "one spleen in each of twelve scans"
    with drawing():
        regions, tail, every = annotation_figures(source)
    assert regions.data["annotations"] == {"abdomen:ct": 12}
    assert tail.data == every.data == {"ct:spleen": 12}
    assert "Virtual patients" in tail.caption
