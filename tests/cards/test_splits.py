"""Splits: committed lists, the rule for entries without one, and what a run writes."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.config import RunConfig, freeze
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.collection import published_collection
from evaluation.datasets.draw import drawn_sides
from evaluation.datasets.registry import find_card
from evaluation.datasets.shards import StandardisedCase, write_rows
from evaluation.datasets.shares import share_of
from evaluation.datasets.splits import (
    committed_split,
    effective_split,
    natural_key,
    planned_cases,
    read_split_file,
    split_text,
)
from evaluation.datasets.splitting import write_split
from evaluation.errors import BenchError
from evaluation.files.writing import sha256
from evaluation.paths import RunPaths
from evaluation.studies.record import find_study

SAT = find_study("sat")
SPLIT_FOLDER = SAT.file(SAT.splits or "")
PAPER = list(published_collection(SAT)["dataset"])
REAL = RunConfig(name="real", study="sat", data_kind="real", raw_root="raw", models=["oracle"])


def own_card(train: int, test: int, rule: str = "seeded") -> DatasetCard:
    """A user's dataset without a list."""
    data = find_card("msd_spleen").model_dump(mode="json")
    data |= {"id": "own", "splits": {}, "split": {"train": train, "test": test, "rule": rule}}
    return DatasetCard.model_validate(data)


class TestCommittedLists:
    @pytest.mark.parametrize("study", ["sat", "hermes"])
    def test_hashes(self, study: str) -> None:
        folder = find_study(study).file(find_study(study).splits or "")
        with (folder / "hashes.csv").open(newline="") as stream:
            hashes = {row["file"]: row["sha256"] for row in csv.DictReader(stream)}
        lists = {p.name: p for p in folder.glob("*.csv") if p.name != "hashes.csv"}
        assert set(hashes) == set(lists)
        assert set(hashes) >= {f"{n}.csv" for n in find_study(study).entries if n != "autopet"}
        for name, path in lists.items():
            assert sha256(path) == hashes[name], f"{name} changed: was that on purpose?"

    @pytest.mark.parametrize("name", PAPER)
    def test_counts_are_table_7s_and_no_patient_is_on_two_sides(self, name: str) -> None:
        rows = read_split_file(SPLIT_FOLDER / f"{name}.csv")
        card = find_card(name)
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(row.patient, set()).add(row.split)
        assert all(len(side) == 1 for side in sides.values())
        assert sum(row.split == "train" for row in rows) == card.splits["sat"].train
        assert sum(row.split == "test" for row in rows) == card.splits["sat"].test
        assert rows == sorted(rows, key=lambda row: natural_key(row.case))

    def test_amos_tests_its_official_folder(self) -> None:
        """The scans that the published list has on the other side."""
        hermes = find_study("hermes")
        for name, tests, trains in (
            ("amos_ct", "34 40 41 56 70 117 203 311 356", "52 54 72 78 97 158 175 198 395"),
            ("amos_mr", "544 553 572 576", "548 555 587 588"),
        ):
            sides = {row.case: row.split for row in committed_split(name, hermes) or ()}
            assert {sides[f"amos_{int(n):04d}"] for n in tests.split()} == {"test"}
            assert {sides[f"amos_{int(n):04d}"] for n in trains.split()} == {"train"}

    def test_an_entry_of_another_study_is_divided_as_that_study_does(self) -> None:
        """A run of `sat` that takes in entries of `hermes`, and the other way round."""
        mixed = REAL.model_copy(update={"entries": ["chaos_mr", "kits19", "autopet"]})
        planned = planned_cases(find_card("kits19"), mixed)
        assert planned == list(committed_split("kits19", find_study("hermes")) or ())
        assert planned_cases(find_card("autopet"), mixed) is None
        assert planned_cases(find_card("chaos_mr"), mixed) == list(
            committed_split("chaos_mr", SAT) or ()
        )
        other = mixed.model_copy(update={"study": "hermes"})
        assert planned_cases(find_card("acdc"), other) == list(committed_split("acdc", SAT) or ())
        rows = planned_cases(find_card("chaos_mr"), other) or []
        assert {row.patient for row in rows if row.split == "validation"} == {"22"}

    def test_couinaud_inherits_hepaticvessel(self) -> None:
        parent = {row.case: row.split for row in committed_split("msd_hepaticvessel", SAT) or ()}
        for row in committed_split("couinaud", SAT) or ():
            assert parent[row.case] == row.split

    def test_official_splits(self) -> None:
        for row in committed_split("acdc", SAT) or ():
            number = int(row.patient.removeprefix("patient"))
            assert (row.split == "train") == (number <= 100)
        for row in committed_split("ski10", SAT) or ():
            assert (row.split == "train") == (int(row.case) <= 60)

    @pytest.mark.parametrize(
        ("name", "sequences"), [("acdc", 2), ("isles2022", 2), ("brats2021", 4), ("chaos_mr", 3)]
    )
    def test_all_sequences_of_a_patient_are_listed(self, name: str, sequences: int) -> None:
        rows = committed_split(name, SAT) or ()
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.patient] = counts.get(row.patient, 0) + 1
        assert set(counts.values()) == {sequences}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,split\na,train\n", "not a split list"),
        ("case,patient,split\na,a,val\n", "unknown side"),
        ("case,patient,split\na,a,train\na,a,train\n", "listed twice"),
        ("case,patient,split\na1,a,train\na2,a,test\n", "on two sides"),
    ],
)
def test_wrong_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(BenchError, match=message) as caught:
        read_split_file(path)
    assert str(path) in str(caught.value)


def test_natural_order() -> None:
    names = ["liver_10", "liver_9", "a", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "liver_9", "liver_10"]


class TestEffective:
    def test_follows_the_list_for_what_is_there(self) -> None:
        card = find_card("msd_spleen")
        listed = committed_split("msd_spleen", SAT) or ()
        present = [(row.case, row.patient) for row in listed[:10]] + [("spleen_999", "spleen_999")]
        said: list[str] = []
        rows = effective_split(card, REAL, present, said.append)
        assert rows == list(listed[:10])
        assert any("spleen_999" in text for text in said)
        assert any("10 of the 41" in text for text in said)

    def test_nothing_on_the_list_is_an_error(self) -> None:
        card = find_card("msd_spleen")
        with pytest.raises(BenchError, match="none of the 2 cases") as caught:
            effective_split(card, REAL, [("case_1", "1"), ("case_2", "2")])
        assert "spleen_2" in str(caught.value)
        with pytest.raises(BenchError, match="no usable case"):
            effective_split(card, REAL, [])

    def test_complete_data_is_said_to_be_complete(self) -> None:
        listed = committed_split("chaos_mr", SAT) or ()
        said: list[str] = []
        present = [(row.case, row.patient) for row in reversed(listed)]
        assert effective_split(find_card("chaos_mr"), REAL, present, said.append) == list(listed)
        assert said == []

    def test_synthetic_run_follows_its_cohort(self) -> None:
        config = RunConfig(
            name="demo",
            study="sat",
            data_kind="synthetic",
            raw_root="raw",
            models=["oracle"],
            cohort={"patients": 8, "test_patients": 3},
        )
        planned = planned_cases(find_card("acdc"), config)
        assert planned is not None
        assert len({row.patient for row in planned if row.split == "test"}) == 3
        assert len({row.patient for row in planned}) == 8
        present = [(row.case, row.patient) for row in planned]
        assert effective_split(find_card("acdc"), config, present) == planned

    def test_no_list_and_no_rule_means_all_for_testing(self) -> None:
        present = [(f"c{i}", f"p{i}") for i in range(5)]
        rows = effective_split(own_card(0, 5, "none"), REAL, present)
        assert {row.split for row in rows} == {"test"}


class TestRule:
    @settings(max_examples=60, deadline=None)
    @given(
        scans=st.lists(st.integers(1, 5), min_size=2, max_size=60),
        share=st.floats(0.05, 0.95),
        seed=st.integers(0, 5),
    )
    def test_the_counts_hold_wherever_whole_patients_can_make_them(
        self, scans: list[int], share: float, seed: int
    ) -> None:
        people = {f"p{i}": n for i, n in enumerate(scans)}
        total = sum(scans)
        test = min(max(1, round(share * total)), total - 1)
        said: list[str] = []
        card = own_card(total - test, test)
        sides = drawn_sides(card, card.split, seed, people, said.append)
        drawn = sum(n for who, n in people.items() if sides[who] == "test")
        sums = {0}
        for n in scans:
            sums |= {k + n for k in sums}
        nearest = min(abs(k - test) for k in sums - {0, total})
        assert abs(drawn - test) == nearest
        assert bool(said) == bool(nearest)
        if nearest:
            assert f"{drawn} test and {total - drawn} training cases drawn" in said[0]

    def test_160_and_40_scans_of_100_patients(self) -> None:
        present = [(f"p{i}_{k}", f"p{i}") for i in range(100) for k in range(1 + i % 3)]
        present = present[: len(present) - len(present) % 2][:200]
        said: list[str] = []
        train = len(present) - 40
        rows = effective_split(own_card(train, 40), REAL, present, said.append)
        assert sum(row.split == "test" for row in rows) == 40
        assert sum(row.split == "train" for row in rows) == train
        assert said == []

    def test_seed_and_dataset_matter_and_the_order_of_the_cases_does_not(self) -> None:
        card, other = own_card(50, 50), own_card(50, 50).model_copy(update={"id": "other"})
        people = {f"p{i}": 1 for i in range(100)}
        base = drawn_sides(card, card.split, 0, people)
        assert base != drawn_sides(card, card.split, 1, people)
        assert base != drawn_sides(other, other.split, 0, people)
        assert base == drawn_sides(card, card.split, 0, dict(reversed(people.items())))

    @settings(max_examples=25, deadline=None)
    @given(scans=st.integers(1, 3), new=st.integers(0, 1000))
    def test_a_patient_more_moves_two_others_at_most(self, scans: int, new: int) -> None:
        card = own_card(160 * scans, 40 * scans)
        people = {f"p{i}": scans for i in range(200)}
        before = drawn_sides(card, card.split, 0, people)
        after = drawn_sides(card, card.split, 0, {**people, f"new{new}": scans})
        assert sum(before[who] != after[who] for who in people) <= 2

    def test_a_case_that_fails_moves_nobody(self) -> None:
        card = own_card(16, 4)
        cases = [(f"c{i}", f"c{i}") for i in range(20)]
        whole = {row.case: row.split for row in effective_split(card, REAL, cases)}
        for bad in (cases[:1], cases[5:9]):
            good = [case for case in cases if case not in bad]
            rows = effective_split(card, REAL, good, failed=bad)
            assert {row.case: row.split for row in rows} == {c: whole[c] for c, _ in good}

    @settings(max_examples=25, deadline=None)
    @given(scans=st.lists(st.integers(1, 3), min_size=40, max_size=80), seed=st.integers(0, 3))
    def test_three_sides_hold_patients_whole(self, scans: list[int], seed: int) -> None:
        people = {f"p{i}": n for i, n in enumerate(scans)}
        total = sum(scans)
        counts = {"validation": round(0.05 * total), "test": round(0.2 * total)}
        counts["train"] = total - sum(counts.values())
        card = own_card(counts["train"], counts["test"])
        rule = card.split.model_copy(update=counts)
        sides = drawn_sides(card, rule, seed, people)
        found = {s: sum(n for who, n in people.items() if sides[who] == s) for s in counts}
        # With one scan of somebody, every number can be made; otherwise the nearest one is.
        assert all(abs(found[side] - counts[side]) <= 2 for side in ("validation", "test"))
        two_sides = drawn_sides(card, card.split.model_copy(update={**counts, "validation": 0,
                                "train": total - counts["test"]}), seed, people)  # fmt: skip
        tested = {who for who, side in sides.items() if side == "test"}
        assert tested == {who for who, side in two_sides.items() if side == "test"}

    def test_shares_lie_within_each_other_and_draws_differ(self) -> None:
        rule = find_card("msd_pancreas").splits["hermes"]
        rows = committed_split("msd_pancreas", find_study("hermes")) or ()
        patients = [row.patient for row in rows if row.split == "train"]
        parts = [share.part for share in rule.shares]
        first = [set(share_of("msd_pancreas", patients, part)) for part in parts]
        assert [len(share) for share in first] == [2, 21, 107, 214]
        assert all(small < large for small, large in pairwise(first))
        draws = {tuple(share_of("msd_pancreas", patients, 0.01, k)) for k in range(5)}
        assert len(draws) == rule.shares[0].draws == 5

    def test_few_patients_still_get_two_sides(self) -> None:
        said: list[str] = []
        rows = effective_split(own_card(99, 1), REAL, [("a", "a"), ("b", "b")], said.append)
        assert sorted(row.split for row in rows) == ["test", "train"]
        assert any("its card counts 100 (99 train, 1 test)" in text for text in said)
        assert any("1 test and 1 training cases drawn instead of 0" in text for text in said)

    @pytest.mark.parametrize("rule", ["official", "published", "repaired", "inherited"])
    def test_a_list_that_was_promised_and_is_not_there_is_asked_for(self, rule: str) -> None:
        card = own_card(8, 2, rule)
        present = [(f"c{i}", f"c{i}") for i in range(10)]
        with pytest.raises(BenchError, match="list is not there") as caught:
            effective_split(card, REAL, present)
        assert "config/datasets/own.csv" in str(caught.value)
        assert "case,patient,split" in str(caught.value)
        assert "seeded" in str(caught.value)


class TestRun:
    def shards(self, run: Path, dataset: str, rows: list[tuple[str, str, str]]) -> RunPaths:
        paths = RunPaths(run)
        half = ceil(len(committed_split(dataset, SAT) or ()) / 2)
        freeze(REAL.model_copy(update={"shard_size": half}), paths.config)
        for shard in range(2):
            path = paths.case_shard(dataset, shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(
                path, [StandardisedCase(c, who, "", s, "", c, who) for c, who, s in rows[shard::2]]
            )
        return paths

    def test_writes_only_what_standardised(self, tmp_path: Path) -> None:
        listed = (committed_split("msd_spleen", SAT) or ())[:6]
        rows = [(r.case, r.patient, "failed" if i == 1 else "ok") for i, r in enumerate(listed)]
        paths = self.shards(tmp_path, "msd_spleen", rows)
        said: list[str] = []
        path = write_split(tmp_path, "msd_spleen", said.append)
        assert path == paths.split("msd_spleen")
        kept = [row for i, row in enumerate(listed) if i != 1]
        # With the digests of image and labels that the shards' tables have.
        assert read_split_file(path) == [replace(r, image=r.case, labels=r.patient) for r in kept]
        assert any("1 cases could not be standardised" in text for text in said)

    def test_numeric_ids_keep_their_zeros(self, tmp_path: Path) -> None:
        listed = (committed_split("ski10", SAT) or ())[:4]
        self.shards(tmp_path, "ski10", [(r.case, r.patient, "ok") for r in listed])
        rows = read_split_file(write_split(tmp_path, "ski10"))
        assert [row.case for row in rows] == ["001", "002", "003", "004"]

    def test_without_shards_it_says_what_to_run(self, tmp_path: Path) -> None:
        freeze(REAL, RunPaths(tmp_path).config)
        with pytest.raises(BenchError, match="satbench standardise"):
            write_split(tmp_path, "ski10")


def test_text_round_trip(tmp_path: Path) -> None:
    rows = list(committed_split("wmh", SAT) or ())
    path = tmp_path / "wmh.csv"
    path.write_text(split_text(rows))
    assert read_split_file(path) == rows
