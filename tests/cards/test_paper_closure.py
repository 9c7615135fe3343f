"""Cards and vocabulary close onto the paper's Tables 1, 3-4, 5, 6, 7 and 8."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from evaluation.classes import LESION, REGIONS, find_class, region_of, vocabulary
from evaluation.datasets.collection import published_collection
from evaluation.datasets.registry import find_card
from evaluation.datasets.splits import committed_split
from evaluation.studies.record import find_study

SAT = find_study("sat")
PAPER = set(published_collection(SAT)["dataset"])


# What the document prints, transcribed from it alone and not from our cards; README.md there.
PAGES = Path(__file__).parent / "paper"


@pytest.fixture(scope="module")
def paper() -> Path:
    return PAGES


@pytest.fixture(scope="module")
def slots() -> pd.DataFrame:
    return pd.read_csv(PAGES / "label_system.csv", dtype=str, keep_default_na=False)


def test_table_1(paper: Path) -> None:
    table = pd.read_csv(paper / "table1_datasets.csv")
    summary = table[table["row"] == "summary"].iloc[0]
    table = table[table["row"] != "summary"]
    assert {find_card(name).id for name in table["dataset"]} == PAPER
    # 888 LUNA16 scans and 20 labelled MSD Heart scans, as in Table 7 and in public.
    differing = {"luna16": (712, 888), "msd_heart": (21, 20)}
    for row in table.itertuples():
        card = find_card(row.dataset)
        assert len(card.classes) == int(row.n_classes)
        assert card.has_anomaly == (row.has_anomaly == "Yes")
        if card.id in differing:
            assert (int(row.n_scans), card.expected_cases) == differing[card.id]
        else:
            assert card.expected_cases == int(row.n_scans)
    assert sum(len(card.classes) for card in map(find_card, PAPER)) == 405
    assert len(vocabulary("sat")) == int(summary.n_classes)
    assert sum(card.expected_cases for card in map(find_card, PAPER)) == 11637


def test_table_1_as_package_data(paper: Path) -> None:
    table = pd.read_csv(paper / "table1_datasets.csv")
    table = table[table["row"] != "summary"]
    printed = published_collection(SAT)
    assert [find_card(name).id for name in table["dataset"]] == list(printed["dataset"])
    for ours, theirs in (("scans", "n_scans"), ("classes", "n_classes")):
        assert list(printed[ours]) == [int(value) for value in table[theirs]]
    assert printed["annotations"].sum() == table["n_annotations"].sum() == 142250


def test_table_5_names(paper: Path) -> None:
    table = pd.read_csv(paper / "table5_datasets.csv")
    assert {find_card(name).id for name in table["dataset"]} == PAPER


def test_table_7(paper: Path) -> None:
    table = pd.read_csv(paper / "table7_nnunet_configs.csv")
    specialists = {}
    for card in map(find_card, PAPER):
        for specialist in card.specialists:
            n_classes = len(specialist.classes or card.annotated)
            rule = card.splits["sat"]
            specialists[specialist.id] = (n_classes, rule.train, rule.test)
    seen = set()
    for row in table.itertuples():
        card = find_card(row.dataset)
        subset = row.dataset.split()[-1].lower()
        name = f"{card.id}-{subset}" if len(card.specialists) > 1 else card.id
        assert specialists[name] == (row.n_classes, row.n_train, row.n_test), row.dataset
        seen.add(name)
    assert seen == set(specialists)
    assert len(seen) == 36


def test_table_8(paper: Path) -> None:
    table = pd.read_csv(paper / "table8_classes.csv")
    infos = vocabulary("sat")
    assert [i.printed for i in infos] == list(table["printed"])
    assert [(i.printed_modality, i.name) for i in infos] == list(
        zip(table["modality"], table["name"], strict=True)
    )
    assert len({i.key for i in infos}) == 362
    assert len({i.name for i in infos}) == 341
    moved = {i.name for i in infos if i.modality != i.printed_modality}
    assert moved == {"left ventricle cavity", "right ventricle cavity"}
    for literal, info in zip(table["printed"], infos, strict=True):
        assert find_class(info.modality, literal) is info


def test_label_system(slots: pd.DataFrame) -> None:
    assert len(slots) == 405
    for row in slots.itertuples():
        card = find_card(row.dataset)
        entry = card.class_entry(row.name)
        assert entry.kind == row.kind
        assert (entry.printed_modality or card.modality) == row.modality_prefix
        raw = row.raw_value_or_file
        if entry.file is not None and raw and not raw.endswith(" file"):
            assert entry.file == raw
        if entry.values is not None and raw.replace("+", "").isdigit():
            assert entry.values == tuple(int(value) for value in raw.split("+"))
        if row.subset and row.kind == "annotated":
            name = f"totalsegmentator-{row.subset.lower()}"
            (specialist,) = [s for s in card.specialists if s.id == name]
            assert row.name in (specialist.classes or ())


def test_every_printed_row_has_its_region(paper: Path) -> None:
    table = pd.read_csv(paper / "table3_4_classes.csv")
    for row in table.drop_duplicates(["modality", "target"]).itertuples():
        info = find_class({"CT": "ct", "MR": "mri"}[row.modality], row.target)
        assert region_of(*info.key, "as-printed") == row.region_by_anatomy.lower()
        assert info.region in REGIONS


def test_lesion_group_is_the_fourteen(paper: Path) -> None:
    group = {i.key for i in vocabulary("sat") if i.in_lesion_group}
    assert len(group) == 14
    assert group == {i.key for i in vocabulary("sat") if i.region == LESION}
    printed = pd.read_csv(paper / "table6_lesions.csv")["lesion"].unique()
    for lesion in printed:
        found = [i for i in vocabulary() if i.in_lesion_group and _leads_to(i.modality, lesion, i)]
        assert len(found) == 1, lesion
    assert ("mri", "white matter hyperintensities") not in group
    assert region_of("mri", "white matter hyperintensities") == "brain"


def _leads_to(modality: str, name: str, info: object) -> bool:
    from evaluation.errors import BenchError

    try:
        return find_class(modality, name) is info
    except BenchError:
        return False


def published_sums() -> pd.DataFrame:
    return pd.read_csv(PAGES / "published_lists.csv")


@pytest.mark.parametrize("dataset", published_sums()["dataset"])
def test_lists_are_the_published_ones_but_for_named_departures(dataset: str) -> None:
    """The lists themselves may not be passed on: their sums may."""
    row = published_sums().set_index("dataset").loc[dataset]
    committed = committed_split(dataset, SAT)
    assert committed is not None
    sides = {getattr(case, row.unit): case.split for case in committed}
    assert len(sides) == row.members
    departures = pd.read_csv(PAGES / "departures.csv", dtype=str)
    for member in departures[departures["dataset"] == dataset].itertuples():
        assert sides[member.member] != member.published
        sides[member.member] = member.published
    text = "".join(f"{member},{side}\n" for member, side in sorted(sides.items()))
    assert hashlib.sha256(text.encode()).hexdigest() == row.sha256


def test_departures_are_few() -> None:
    """Patients on both sides of the published lists, and WORD's 20 validation cases."""
    departures = pd.read_csv(PAGES / "departures.csv", dtype=str)
    assert departures["dataset"].value_counts().to_dict() == {
        "word": 20,
        "covid19_ct_seg": 2,
        "brats2021": 1,
        "msd_prostate": 1,
    }


def test_generated_classes_belong_to_the_subset_of_their_parts() -> None:
    card = find_card("totalsegmentator")
    subsets = card.subsets
    of = {name: subset for subset, names in subsets.items() for name in names}
    assert set(of) == set(card.class_names)
    assert sum(map(len, subsets.values())) == len(card.class_names)
    assert of["rib"] == of["left rib 1"] == "totalsegmentator-ribs"
    assert of["vertebrae"] == of["lumbar vertebrae"] == "totalsegmentator-vertebrae"
    assert of["kidney"] == of["left kidney"] == "totalsegmentator-organs"
