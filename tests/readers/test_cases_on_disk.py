"""What lies in a raw folder beside what a list, a card and a run say of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.check import check_root
from evaluation.datasets.readers import discover, get_reader
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_shards, shard_cases
from evaluation.datasets.shards import StandardisedCase, write_rows
from evaluation.datasets.splits import EFFECTIVE_COLUMNS, effective_split, split_text
from evaluation.datasets.templates import write_dataset_card
from evaluation.errors import BenchError
from evaluation.files.writing import write_text
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.workflow.announce import raw_remarks
from evaluation.workflow.plan import plan_entries

OWN = Path("config/datasets/own")


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw root with ten cases of a user's dataset, five patients with two scans each."""
    monkeypatch.chdir(tmp_path)
    path = write_dataset_card("own")
    card = yaml.safe_load(path.read_text()) | {
        "folder": "Own", "patient_pattern": "^(p[0-9]+)_", "expected_cases": 10,
        "expected_patients": 5, "split": {"train": 8, "test": 2, "rule": "seeded"},
        "classes": [{"name": "liver", "values": [1]}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(card))
    for case in CASES:
        add_case(tmp_path / "raw" / "Own", case)
    return tmp_path / "raw"


CASES = [f"p{i}_{k}" for i in range(5) for k in range(2)]


def add_case(folder: Path, case: str) -> None:
    rng = np.random.default_rng(list(case.encode()))
    image = rng.integers(0, 100, (4, 4, 4)).astype(np.int16)
    write_volume(folder / "images" / f"{case}.nii.gz", Volume(image, np.eye(4)))
    write_volume(
        folder / "labels" / f"{case}.nii.gz", Volume((image > 50).astype(np.uint8), np.eye(4))
    )


def set_rule(rule: str) -> None:
    path = OWN.with_suffix(".yaml")
    card = yaml.safe_load(path.read_text())
    card["split"]["rule"] = rule
    path.write_text(yaml.safe_dump(card))


def write_list(rows: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{','.join(row)}\n" for row in rows)
    OWN.with_suffix(".csv").write_text("case,patient,split\n" + text)


def card() -> DatasetCard:
    return find_card("own")


def config(**more: object) -> RunConfig:
    return RunConfig.model_validate(
        {"name": "r", "study": "sat", "data_kind": "real", "raw_root": "raw", "models": ["oracle"],
         "entries": ["own"], **more}
    )  # fmt: skip


def remarks() -> list[str]:
    return list(raw_remarks("own", config(), RunPaths(Path("results/r"))))


def faults(raw: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in check_root(raw, [card()]):
        if finding.verdict != "ok":
            found.setdefault(finding.verdict, []).append(f"{finding.case}: {finding.message}")
    return found


LISTED = [(case, case[:2], "test" if case < "p1" else "train") for case in CASES]


def test_a_complete_dataset_has_nothing_said_about_it(raw: Path) -> None:
    assert remarks() == []
    assert faults(raw) == {}
    set_rule("official")
    write_list(LISTED)
    assert remarks() == []
    assert faults(raw) == {}


def test_a_promised_list_is_asked_for_before_anything_starts(raw: Path) -> None:
    set_rule("official")
    with pytest.raises(BenchError, match="list is not there") as caught:
        plan_entries(config())
    assert "config/datasets/own.csv" in str(caught.value)
    assert "list is not there" in faults(raw)["fault"][0]


def test_two_new_cases_are_noticed_with_and_without_a_list(raw: Path) -> None:
    paths = RunPaths(Path("results/r"))
    write_rows(paths.case_shard("own", 0), [StandardisedCase(c, c[:2], "", "ok") for c in CASES])
    assert remarks() == []
    for case in ("p5_0", "p5_1"):
        add_case(raw / "Own", case)
    (counted, new) = remarks()
    assert "12 cases are there, its card counts 10" in counted
    assert "12 on disk, 10 in the run; new: p5_0, p5_1" in new
    assert "they are taken in now" in new
    set_rule("official")
    write_list(LISTED)
    (new,) = remarks()
    assert "12 on disk, 10 in the run; not on its list: p5_0, p5_1" in new
    assert "own.csv" in new


def test_who_changes_sides_because_of_new_cases_is_said_and_can_be_kept(raw: Path) -> None:
    split = RunPaths(Path("results/r")).split("own")
    people = {case: case[:2] for case in CASES}

    def draw() -> dict[str, str]:
        rows = effective_split(card(), config(), list(people.items()))
        return {row.patient: row.split for row in rows}

    before = draw()
    rows = effective_split(card(), config(), list(people.items()))
    write_text(split, split_text(rows, EFFECTIVE_COLUMNS))
    for patient in range(5, 15):
        add_case(raw / "Own", f"p{patient}_0")
        people[f"p{patient}_0"] = f"p{patient}"
    moved = {who for who, side in before.items() if draw()[who] != side}
    assert moved  # otherwise this test shows nothing
    (said,) = [line for line in remarks() if "the draw moves" in line]
    assert {who for who in before if f"patient {who} from {before[who]} to" in said} == moved
    # What it says to do: the sides stay, and new cases wait until they are written down.
    write_text(OWN.with_suffix(".csv"), split.read_text())
    set_rule("official")
    (new,) = remarks()
    assert "not on its list" in new
    kept = effective_split(card(), config(), list(people.items()))
    assert {row.patient: row.split for row in kept} == before


def test_overlaps_are_of_scans_and_name_what_is_there(raw: Path) -> None:
    path = OWN.with_suffix(".yaml")
    plain = yaml.safe_load(path.read_text())
    for wrong in (True, [["liver", "tumor"]]):
        path.write_text(yaml.safe_dump(plain | {"overlaps": wrong}))
        with pytest.raises(BenchError, match="classes need no word to overlap"):
            card()
    overlap = {"dataset": "lits", "relation": "the same scans", "verified": True}
    lost = {**overlap, "dataset": "nowhere", "linked": [["p0", "17"], ["p77", "4"]]}
    path.write_text(yaml.safe_dump(plain | {"overlaps": [overlap, lost]}))
    found = faults(raw)
    assert found["fault"] == [": overlaps: there is no dataset `nowhere`; it links nothing"]
    assert found["note"] == [": overlaps: no case and no patient here is called `p77`"]


def test_cases_that_failed_or_went_are_told_apart(raw: Path) -> None:
    paths = RunPaths(Path("results/r"))
    rows = [StandardisedCase(c, c[:2], "", "ok") for c in CASES[:-2]]
    rows.append(StandardisedCase(CASES[-2], "p4", "", "failed", "truncated"))
    rows.append(StandardisedCase(CASES[-1], "p4", "", "failed", "not found under raw"))
    write_rows(paths.case_shard("own", 0), rows)
    (raw / "Own" / "images" / "p0_0.nii.gz").unlink()
    (_, broken, new, gone) = remarks()
    assert "p4_0 could not be standardised" in broken
    assert "new: p4_1" in new
    assert "no longer there: p0_0" in gone


def test_shards_of_a_card_without_a_list_take_what_is_there(raw: Path) -> None:
    small = config(shard_size=4)
    assert n_shards(card(), small) == 3
    for n in (2, 10, 37):
        there = [f"c{i}" for i in range(n)]
        parts = [shard_cases(card(), small, k, there) for k in range(3)]
        assert sorted(case for part in parts for case in part) == sorted(there)


def test_check_compares_the_list_with_the_folder(raw: Path) -> None:
    set_rule("official")
    rows = [row for row in LISTED if row[0] != "p4_1"]
    write_list([*rows[:-1], ("p4_0", "p9", "train"), ("p7_0", "p7", "train")])
    found = faults(raw)
    assert any("p7_0: on the split list" in text for text in found["fault"])
    assert any("says patient `p9`" in text and "`p4`" in text for text in found["fault"])
    assert any("p4_1: on disk, not on the split list" in text for text in found["note"])
    write_list([("p0_0", "p0", "somewhere")])
    assert "unknown side" in faults(raw)["fault"][0]
    set_rule("seeded")
    write_list(LISTED[2:])
    notes = faults(raw)["note"]
    assert any("whatever `rule: seeded` says" in text for text in notes)
    assert any("has 8 training and 0 test cases" in text for text in notes)


def test_check_finds_labels_without_images_and_images_without_labels(raw: Path) -> None:
    (raw / "Own" / "images" / "p0_0.nii.gz").unlink()
    (raw / "Own" / "labels" / "p1_1.nii.gz").unlink()
    found = faults(raw)["fault"]
    assert any("label without an image; labels/p0_0.nii.gz" in text for text in found)
    assert any(text.startswith("p1_1: ") and "mask file is missing" in text for text in found)


class TestLinks:
    """Links lead where the user said, never where an archive says."""

    def read(self, raw: Path) -> None:
        case = next(c for c in discover(card(), raw) if c.case == "p0_0")
        get_reader(card()).read(case)

    def move(self, raw: Path, target: Path) -> None:
        file = raw / "Own" / "images" / "p0_0.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
        file.symlink_to(target)

    def test_into_another_folder_of_the_raw_root(self, raw: Path) -> None:
        self.move(raw, raw / "downloads" / "a.nii.gz")
        self.read(raw)

    def test_elsewhere_only_if_that_place_is_named_under_the_raw_root(
        self, raw: Path, tmp_path: Path
    ) -> None:
        self.move(raw, tmp_path / "shared" / "a.nii.gz")
        with pytest.raises(BenchError, match="link leads out") as caught:
            self.read(raw)
        assert "ln -s" in str(caught.value)
        (raw / ".hidden").symlink_to(tmp_path / "shared")
        (raw / "Own" / "shared").symlink_to(tmp_path / "shared")
        with pytest.raises(BenchError, match="link leads out"):
            self.read(raw)
        (raw / "shared").symlink_to(tmp_path / "shared")
        self.read(raw)

    def test_into_the_annex_of_the_repository_around_it(self, raw: Path, tmp_path: Path) -> None:
        self.move(raw, tmp_path / ".git" / "annex" / "objects" / "a.nii.gz")
        self.read(raw)

    def test_an_archive_cannot_bring_a_repository_of_its_own(
        self, raw: Path, tmp_path: Path
    ) -> None:
        self.move(raw, tmp_path / "private" / "annex" / "a.nii.gz")
        (raw / "Own" / ".git").symlink_to(tmp_path / "private")
        with pytest.raises(BenchError, match="link leads out"):
            self.read(raw)

    def test_a_link_that_leads_nowhere_says_so(self, raw: Path) -> None:
        self.move(raw, raw / "downloads" / "a.nii.gz")
        os.unlink(raw / "downloads" / "a.nii.gz")  # noqa: PTH108 - the target, not the link
        with pytest.raises(BenchError, match="leads nowhere") as caught:
            self.read(raw)
        assert "git annex get" in str(caught.value)

    def test_a_header_may_not_name_a_file_elsewhere_under_the_root(
        self, raw: Path, raw_files, phantom
    ) -> None:
        promise = find_card("promise12")
        scan = phantom("LPS", (1,))
        part = raw / "PROMISE12" / "TrainingData_Part1"
        raw_files.image(part / "Case00.mhd", scan.image, scan.affine)
        raw_files.image(part / "Case00_segmentation.mhd", scan.labels, scan.affine)
        (part / "Case00.raw").rename(raw / "other.raw")
        header = (part / "Case00.mhd").read_text()
        (part / "Case00.mhd").write_text(header.replace("Case00.raw", "../../other.raw"))
        with pytest.raises(BenchError, match="outside its folder"):
            get_reader(promise).read(discover(promise, raw)[0])


def set_patterns(image: str, label: str, **names: str) -> None:
    path = OWN.with_suffix(".yaml")
    card = yaml.safe_load(path.read_text())
    card["reader_args"] = {"scans": [{"image": image, "label": label}], "names": names}
    path.write_text(yaml.safe_dump(card))


def test_a_star_in_a_pattern_is_any_text_of_one_name(raw: Path) -> None:
    folder = raw / "Own"
    for case in CASES:
        for kind, new in (("images", "T1 2021"), ("labels", "drawn by A")):
            target = folder / "site" / case / f"{new}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{case}.nii.gz").rename(target)
    set_patterns("*/{case}/T1*.nii.gz", "*/{case}/drawn*.nii.gz")
    found = discover(card(), raw)
    assert [case.case for case in found] == CASES
    assert {finding.verdict for finding in check_root(raw, [card()])} == {"ok"}
    # Nothing fits: what was looked for, and what lies there.
    set_patterns("*/{case}/T1*.nii.gz", "*/{case}/seg*.nii.gz")
    message = next(check_root(raw, [card()])).message
    assert "seg*.nii.gz" in message
    assert "T1 2021.nii.gz, drawn by A.nii.gz" in message
    # Two fit: on the side of the label, and on the side that makes cases.
    set_patterns("*/{case}/T1*.nii.gz", "*/{case}/*.nii.gz")
    message = next(check_root(raw, [card()])).message
    assert "case `p0_0`: several files fit `*/{case}/*.nii.gz`" in message
    set_patterns("*/{case}/*.nii.gz", "*/{case}/drawn*.nii.gz")
    assert "two scans have the id `p0_0`" in next(check_root(raw, [card()])).message


@pytest.mark.parametrize(
    ("image", "words"),
    [("**/{case}.nii.gz", "one segment for each folder"), ("images/*.nii.gz", "the field {case}")],
)
def test_patterns_that_cannot_work_are_refused(raw: Path, image: str, words: str) -> None:
    set_patterns(image, "labels/*.nii.gz")
    with pytest.raises(BenchError) as refused:
        discover(card(), raw)
    assert words in str(refused.value)
