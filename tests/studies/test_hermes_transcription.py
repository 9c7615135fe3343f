"""Each printed cell of the second study is the one that was transcribed from the document."""

from __future__ import annotations

import pandas as pd
import pytest

from evaluation.datasets.registry import find_card
from evaluation.published import published
from evaluation.studies.record import find_study

STUDY = find_study("hermes")
TITLES = {model: printed.title for model, printed in STUDY.models.items()}
ASPECTS = {
    "Difficult Classes": "difficult classes", "Modality PET": "pet", "Tumor&Lesion": "lesion",
    "Region Head&Neck": "head and neck", "All Classes": "all classes", "All Datasets": "all",
}  # fmt: skip


@pytest.fixture
def paper(shared):
    return lambda name: pd.read_csv(shared / "paper" / f"hermes_{name}.csv", dtype=str)


def cells(table: str, column: str) -> dict[tuple[str, str], str]:
    """Printed text by the model's title and a column of the study's values."""
    rows = pd.read_csv(STUDY.file(STUDY.published.values), dtype=str).query("table == @table")
    return {(TITLES[r["model"]], r[column]): r["printed"] for _, r in rows.iterrows()}


def test_tables_2_and_3_are_as_printed(paper):
    two = paper("table2_datasets")
    printed = {(r["model"], r["dataset"]): r["dice"] for _, r in two.iterrows()}
    assert cells("2", "printed_row") == printed
    assert len(printed) == 84
    three = paper("table3_aspects")
    printed = dict(
        zip(zip(three["model"], three["aspect"], strict=True), three["dice"], strict=True)
    )
    assert cells("3", "printed_row") == printed
    assert len(printed) == 42
    keys = {(model, ASPECTS[aspect]): dice for (model, aspect), dice in printed.items()}
    assert cells("3", "key") == keys


# The printed name alone means several entries of the benchmark.
IDS = {
    "LiTS T": "lits", "KiTS T": "kits19", "KiTS": "kits19", "CHAOS": "chaos_mr",
    "SS T": "structseg_thorax", "SS H": "structseg_head_neck",
}  # fmt: skip


def entry_of(name):
    return find_card(IDS.get(name, name)).id


def test_table_2_is_about_the_datasets_that_it_names():
    rows = published(STUDY).query("table == '2' and scope == 'dataset'")
    named = rows.drop_duplicates("printed_row").set_index("printed_row")["key"]
    assert {name: entry_of(name) for name in named.index} == named.to_dict()


def test_tables_1_and_4_are_as_printed(paper):
    ours = pd.read_csv(STUDY.file(STUDY.published.costs), dtype=str)
    ours["model"] = ours["model"].map(TITLES)
    assert ours.to_numpy().tolist() == paper("table1_computation").to_numpy().tolist()
    lengths = paper("table4_ablation").to_numpy().tolist()
    assert cells("4", "printed_row") == {
        (TITLES[f"hermes-r-l{length}"], length): dice for length, dice in lengths
    }


def test_table_5_is_as_printed(paper):
    ours = pd.read_csv(STUDY.file(STUDY.published.collection), dtype=str).set_index("dataset")
    for _, row in paper("table5_datasets").iterrows():
        entry = entry_of(row["dataset"])
        assert list(ours.loc[entry, ["scans", "classes"]]) == [row["size"], row["num_classes"]]
        assert (entry in STUDY.downstream) == (row["use"] == "downstream")
    assert len(ours) == 13
