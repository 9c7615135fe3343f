"""What every dataset card must keep, and what a wrong one is told."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
import yaml

from evaluation.classes import vocabulary
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.collection import published_collection
from evaluation.datasets.readers import get_reader
from evaluation.datasets.registry import CARD_FOLDER, find_card, load_cards
from evaluation.datasets.splits import committed_split
from evaluation.datasets.templates import write_dataset_card
from evaluation.errors import BenchError
from evaluation.files.records import load_record
from evaluation.studies.record import find_study, study_ids

SAT = find_study("sat")
IDS = sorted(path.stem for path in CARD_FOLDER.glob("*.yaml"))
# Cards that somebody added are held to the same contract, but not to the paper's counts.
PAPER = list(published_collection(SAT)["dataset"])
STUDIED = {entry for study in map(find_study, study_ids()) for entry in study.entries}
KEYS = {info.key: info for info in vocabulary()}


@pytest.mark.parametrize("name", IDS)
class TestEveryCard:
    def test_says_what_a_user_needs_before_a_download(self, name: str) -> None:
        card = find_card(name)
        for text in (
            card.title, card.description, card.licence.name, card.source.name, card.source.where,
            card.source.steps, card.citation, card.layout,
        ):  # fmt: skip
            assert len(text.split()) >= 1
        assert card.title in card.spellings or len(card.spellings) >= 1

    def test_marks_what_is_not_certain(self, name: str) -> None:
        card = find_card(name)
        if not card.licence.verified:
            assert any("licence" in text for text in card.unverified)

    def test_folder_stays_below_the_raw_root(self, name: str) -> None:
        folder = PurePosixPath(find_card(name).folder)
        assert not folder.is_absolute()
        assert ".." not in folder.parts

    def test_reader_accepts_its_arguments(self, name: str) -> None:
        assert hasattr(get_reader(find_card(name)), "discover")

    def test_classes_are_in_the_vocabulary(self, name: str) -> None:
        card = find_card(name)
        for entry in card.classes if name in STUDIED else ():
            info = KEYS[card.modality, entry.name]
            where = info.annotated_in if entry.kind == "annotated" else info.generated_in
            assert card.id in where
            if name in PAPER:
                assert info.printed_modality == (entry.printed_modality or card.modality)
            if entry.union_of:
                assert entry.union_of in info.generated_from

    def test_unions_name_each_part_once(self, name: str) -> None:
        card = find_card(name)
        for entry in card.classes:
            assert len(set(entry.union_of or ())) == len(entry.union_of or ())

    def test_counts_and_patients_agree_with_its_list(self, name: str) -> None:
        card = find_card(name)
        for study in map(find_study, card.splits):
            assert name in study.entries
            rule = card.splits[study.id]
            assert card.expected_cases == sum(rule.sides.values())
            rows = committed_split(card.id, study)
            if rows is None:
                assert rule.rule == "seeded"
                continue
            assert Counter(row.split for row in rows) == Counter(rule.sides)
            assert len({row.patient for row in rows}) == card.expected_patients
            for row in rows:
                match = re.match(card.patient_pattern, row.case)
                assert match is not None
                assert match[1] == row.patient
                assert row.case not in card.exclude

    def test_specialists_share_out_the_annotated_classes(self, name: str) -> None:
        card = find_card(name)
        covered = [
            entry
            for specialist in card.specialists
            for entry in (specialist.classes or [c.name for c in card.annotated])
        ]
        # Without a training side there is nothing to train a specialist on.
        trained = not card.splits or any(rule.train for rule in card.splits.values())
        assert sorted(covered) == sorted(c.name for c in card.annotated if trained)

    def test_overlaps_name_other_entries(self, name: str) -> None:
        for overlap in find_card(name).overlaps:
            assert overlap.dataset in IDS
            assert overlap.dataset != name


def test_declared_overlaps_are_declared_on_both_sides() -> None:
    pairs = {(card.id, o.dataset) for card in load_cards().values() for o in card.overlaps}
    needed = {
        ("abdomenct1k", "msd_liver"), ("abdomenct1k", "kits21"), ("abdomenct1k", "msd_pancreas"),
        ("abdomenct1k", "msd_spleen"), ("abdomenct1k", "flare22"), ("flare22", "msd_pancreas"),
        ("couinaud", "msd_hepaticvessel"), ("msd_liver", "sliver07"), ("msd_liver", "chaos_ct"),
        ("lits", "msd_liver"), ("kits19", "kits21"), ("lits", "abdomenct1k"),
        ("kits19", "abdomenct1k"), ("amos_ct", "amos_mr"),
    }  # fmt: skip
    assert needed <= pairs
    assert all((b, a) in pairs for a, b in needed)


def test_32_entries_and_36_specialists() -> None:
    specialists = [s.id for name in PAPER for s in find_card(name).specialists]
    assert len(PAPER) == 32
    assert set(PAPER) <= set(load_cards())
    assert len(specialists) == len(set(specialists)) == 36


def test_template_is_a_card_whose_reader_takes_its_arguments(tmp_path: Path) -> None:
    card = load_record(write_dataset_card("my_set", tmp_path), DatasetCard)
    assert card.id == "my_set"
    assert hasattr(get_reader(card), "discover")


@pytest.mark.parametrize("name", ["123", "on", "1e5"])
def test_template_keeps_a_name_that_yaml_would_read_as_something_else(
    tmp_path: Path, name: str
) -> None:
    card = load_record(write_dataset_card(name, tmp_path), DatasetCard)
    assert (card.id, card.specialists[0].id) == (name, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My Knee", "use `my_knee`"),
        ("../../escaped", "use `escaped`"),
        ("my-knee", "single `_`(.|\n)*use `my_knee`"),
        ("my_knee\n", "use `my_knee`"),
        ("flare2022", "leads to `flare22`"),
        ("totalsegmentator_ribs", "leads to `totalsegmentator`"),
    ],
)
def test_template_is_not_written_under_a_name_that_would_break_the_cards(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        write_dataset_card(name, tmp_path / "config" / "datasets")
    assert list(tmp_path.iterdir()) == []


def test_no_spelling_leads_to_two_cards() -> None:
    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    owner: dict[str, str] = {}
    for card in load_cards().values():
        for spelling in (card.id, card.title, *card.spellings):
            assert owner.setdefault(plain(spelling), card.id) == card.id


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("MSD Cardiac", "msd_heart"),
        ("Totalsegmentator", "totalsegmentator"),
        ("TotalSegmentor", "totalsegmentator"),
        ("AbdomeCT1K", "abdomenct1k"),
        ("KiTS21", "kits21"),
        ("Challenge4C2021", "challenge_4c2021"),
        ("COVID19", "covid19_ct_seg"),
        ("CHAOS MR", "chaos_mr"),
        ("MRSineSeg", "mrspineseg"),
    ],
)
def test_printed_variants_lead_to_their_card(spelling: str, name: str) -> None:
    assert find_card(spelling).id == name


def test_unknown_entry_gets_a_hint() -> None:
    with pytest.raises(BenchError, match=r"msd_hipocampus(.|\n)*did you mean `msd_hippocampus`"):
        find_card("msd_hipocampus")


def test_4c2021_is_loadable_and_says_that_it_has_no_source() -> None:
    card = find_card("challenge_4c2021")
    assert card.access == "unavailable"
    assert "No public source" in " ".join(card.faults)


def broken_card(folder: Path, **changes: object) -> Path:
    data = yaml.safe_load((CARD_FOLDER / "msd_spleen.yaml").read_text(encoding="utf-8"))
    data.update(changes)
    path = folder / "msd_spleen.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licences": "x"}, r"licences.*did you mean `licence`"),
        ({"access": "free"}, r"access"),
        ({"id": "msd_liver"}, r"card id and file name differ"),
        ({"expected_cases": "many"}, r"expected_cases"),
        ({"classes": [{"name": "spleen", "values": [1], "file": "x"}]}, r"exactly one of values"),
        (
            {"classes": [{"name": "a", "values": [1]}, {"name": "b", "union_of": ["c"]}]},
            r"`c` in union_of is not an annotated",
        ),
        ({"classes": [{"name": "a", "values": [1]}] * 2}, r"occurs twice"),
        ({"specialists": [{"id": "x", "classes": ["liver"]}]}, r"unknown classes"),
    ],
)
def test_wrong_card_is_named_with_its_field(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = broken_card(tmp_path, **changes)
    with pytest.raises(BenchError, match=message) as caught:
        load_cards(tmp_path)
    assert str(path) in str(caught.value)
