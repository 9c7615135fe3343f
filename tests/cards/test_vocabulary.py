"""Looking classes up, their regions, and which of them make up a mean."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation.classes import (
    REGIONS,
    UNASSIGNED,
    composition_keys,
    find_class,
    region_of,
    vocabulary,
)
from evaluation.cli import build
from evaluation.datasets.registry import find_card, load_cards
from evaluation.errors import BenchError
from evaluation.studies.record import find_study, study_ids

INFOS = {info.key: info for info in vocabulary()}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build(), list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("modality", "text", "name"),
    [
        ("ct", "Clavicular", "clavicula"),
        ("ct", "iliopsoas", "iliopectos"),
        ("ct", "pleural effusion", "lung effusion"),
        ("ct", "Lung cancer", "lung tumor"),
        ("ct", "ct Arytenoid", "arytenoid"),
        ("ct", "kidney_left", "left kidney"),
        ("ct", "vertebrae_T12", "thoracic vertebrae 12 (t12)"),
        ("ct", "L5", "lumbar vertebrae 5 (l5)"),
        ("ct", "A_Carotid_L", "left carotid artery"),
        ("mri", "WMH", "white matter hyperintensities"),
        ("mri", "mri_myocardium", "myocardium"),
        ("mri", "LV cavity", "left ventricle cavity"),
    ],
)
def test_aliases(modality: str, text: str, name: str) -> None:
    assert find_class(modality, text).name == name


def test_acdc_cavities_are_found_under_the_printed_and_the_true_modality() -> None:
    assert find_class("ct", "left ventricle cavity") is find_class("mri", "left ventricle cavity")
    assert find_class("mri", "left ventricle cavity").printed == "ct_left ventricle cavity"


def test_bladder_stays_two_keys() -> None:
    assert find_class("ct", "bladder") is not find_class("ct", "urinary bladder")
    assert find_class("ct", "bladder").annotated_in == ("word", "amos_ct")


def test_alias_never_hides_a_name() -> None:
    for info in vocabulary():
        assert find_class(info.modality, info.name) is info
        for alias in info.aliases:
            assert find_class(info.modality, alias) is info, alias


def test_unknown_class_gets_a_hint() -> None:
    with pytest.raises(BenchError, match=r"no ct class `kidny`(.|\n)*did you mean `kidney`"):
        find_class("ct", "kidny")
    with pytest.raises(BenchError, match="no pet class `liver`"):
        find_class("pet", "liver")
    with pytest.raises(BenchError, match=r"unknown modality(.|\n)*ct, mri, pet"):
        find_class("us", "liver")


def test_every_class_has_a_region_and_a_rule_in_both_schemes() -> None:
    for info in vocabulary():
        assert info.region in (*REGIONS, "lesion")
        assert info.region_rule
        assert info.region_alternative in ("", "lesion", *REGIONS)
        assert info.region_alternative != info.region
        assert region_of(*info.key, "as-printed") in (*REGIONS, "lesion")
    assert {info.region for info in vocabulary()} == {*REGIONS, "lesion"}


def test_schemes_differ_where_the_paper_is_odd() -> None:
    differ = {i.name for i in vocabulary() if i.region != i.region_as_printed}
    assert differ == {
        "brain", "esophagus", "trachea", "autochthon", "left autochthon", "right autochthon"
    }  # fmt: skip
    assert region_of("ct", "brain") == "brain"
    assert region_of("ct", "brain", "as-printed") == "head and neck"


def test_class_of_a_users_dataset_is_unassigned() -> None:
    assert region_of("ct", "sternum") == UNASSIGNED
    with pytest.raises(BenchError, match="did you mean `anatomical`"):
        region_of("ct", "liver", "anatomic")  # type: ignore[arg-type]


def test_a_class_names_the_studies_whose_entries_have_it() -> None:
    used: dict[tuple[str, str], set[str]] = {}
    for study in map(find_study, study_ids()):
        for card in map(find_card, study.entries):
            for name in study.classes.get(card.id, card.class_names):
                used.setdefault((card.modality, name), set()).add(study.id)
    assert {info.key: set(info.studies) for info in vocabulary()} == used
    assert len(vocabulary("hermes")) == 66
    assert len(set(vocabulary("hermes")) - set(vocabulary("sat"))) == 27


def test_compositions() -> None:
    everything = composition_keys("all")
    leaves = composition_keys("leaves")
    merged = composition_keys("merged")
    assert everything == set(INFOS)
    assert leaves < everything
    assert merged < everything
    for modality, name in leaves:
        for card in load_cards().values():
            if card.modality == modality and name in card.class_names:
                assert card.class_entry(name).kind == "annotated"
    for key in everything - merged:
        assert INFOS[key].side != "none"
        whole = INFOS[key[0], INFOS[key].merged]
        assert whole.side == "none"
        assert whole.key in merged
    assert ("ct", "kidney") in merged
    assert ("ct", "left kidney") not in merged
    assert ("ct", "left rib 7") not in merged
    assert ("mri", "left heart atrium") in merged
    with pytest.raises(BenchError, match="unknown composition"):
        composition_keys("sided")  # type: ignore[arg-type]


def test_sides_are_the_patients() -> None:
    for info in vocabulary():
        if info.side == "none":
            assert not info.name.startswith(("left ", "right ")) or info.name.endswith("of liver")
    pairs = [i.name for i in vocabulary() if i.modality == "ct" and i.side == "left"]
    for name in pairs:
        assert ("ct", name.replace("left", "right")) in INFOS


class TestCommands:
    def test_classes(self, tmp_path: Path) -> None:
        assert run("classes").splitlines()[-1] == "389 classes, 359 names"
        assert run("classes", "--study", "sat").splitlines()[-1] == "362 classes, 341 names"
        assert run("classes", "--dataset", "ACDC").splitlines()[-1] == "4 classes, 4 names"
        sat_mri = run("classes", "--json", "--modality", "mri", "--study", "sat")
        assert len(json.loads(sat_mri)) == 163
        assert len(json.loads(run("classes", "--json", "--modality", "pet"))) == 1
        target = tmp_path / "classes.csv"
        run("classes", "--csv", str(target))
        with target.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 389
        assert rows[0]["name"] == "liver"
        assert rows[0]["region"] == "abdomen"

    def test_datasets(self) -> None:
        cards = load_cards()
        n_slots = sum(len(card.classes) for card in cards.values())
        last = run("datasets").splitlines()[-1]
        assert last.startswith(f"{len(cards)} entries, {n_slots} class slots, ")
        assert len(json.loads(run("datasets", "--json"))) == len(cards)
        page = run("datasets", "KiTS21")
        assert "kidney: values 1, 2, 3" in page
        assert "case_00000" in page
        assert json.loads(run("datasets", "wmh", "--json"))["ignore_values"] == [2]
        assert "dicom_png" in run("datasets", "--readers")
