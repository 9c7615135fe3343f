"""What the audit found and what the cards say of it: accepted, declared and rejected links."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.overlaps import overlaps_of
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.models.training_sets import TrainingSets, training_sets
from evaluation.studies.record import find_study
from evaluation.tables.run_tables import trained_of
from evaluation.tables.views import Links, find_links

# Three sites; each patient has two scans, and each site tests its first two patients.
SITES = ("site_a", "site_b", "site_c")


def splits() -> dict[str, pd.DataFrame]:
    return {
        site: pd.DataFrame(
            {
                "case": [f"{site[-1]}{i}_{k}" for i in range(4) for k in range(2)],
                "patient": [f"{site[-1]}{i}" for i in range(4) for k in range(2)],
                "split": ["test" if i < 2 else "train" for i in range(4) for k in range(2)],
            }
        )
        for site in SITES
    }


def audit(*pairs: tuple[str, str]) -> pd.DataFrame:
    """Links by content between cases such as `a0_0` and `b2_1`."""

    def side(case: str) -> dict[str, str]:
        split = "test" if int(case[1]) < 2 else "train"
        return {
            "dataset": f"site_{case[0]}", "case": case, "patient": case[:2], "split": split,
        }  # fmt: skip

    rows = []
    for one, other in pairs:
        second = {f"other_{key}": value for key, value in side(other).items()}
        rows.append({**side(one), **second, "accepted": True, "verdict": "same scan"})
    return pd.DataFrame(rows)


def card(site: str, *overlaps: dict[str, Any]) -> DatasetCard:
    data = find_card("msd_spleen").model_dump(mode="json")
    words = {"relation": "looked at", "verified": True}
    data |= {"id": site, "overlaps": [{**words, **overlap} for overlap in overlaps]}
    return DatasetCard.model_validate(data)


def linked(found: pd.DataFrame | None, *cards: DatasetCard, trained: Any = None) -> Links:
    return find_links(splits(), found, overlaps_of(cards), trained)


FOUND = (("a0_0", "b2_0"), ("a1_0", "b0_1"), ("b1_0", "c3_0"))


def test_links_that_nobody_declared_are_said_with_patients_before_and_after() -> None:
    links = linked(audit(*FOUND))
    assert links.leaked == {("site_a", "a0_0"), ("site_b", "b1_0")}
    assert links.note.startswith("3 links between scans")
    assert "6 test patients count as 5 independent ones" in links.note
    assert "leaves out 2 of 12 test scans" in links.note
    assert links.undeclared == 3
    text = "\n".join(links.lines)
    assert "site_a/a0_0 (test) - site_b/b2_0 (train): same scan" in text
    assert "3 of these links are announced by no card" in text
    assert "not_linked" in text
    assert "`linked`" in text


@pytest.mark.parametrize("mine", ["a0_0", "a0"], ids=["case", "patient"])
@pytest.mark.parametrize("from_b", [False, True])
def test_a_rejected_link_neither_joins_nor_leaves_out(mine: str, from_b: bool) -> None:
    rejected = (
        card("site_b", {"dataset": "site_a", "not_linked": [["b2", mine]]})
        if from_b
        else card("site_a", {"dataset": "site_b", "not_linked": [[mine, "b2"]]})
    )
    links = linked(audit(*FOUND), rejected)
    assert links.leaked == {("site_b", "b1_0")}
    assert links.name("site_a", "a0") != links.name("site_b", "b2")
    assert links.name("site_a", "a1") == links.name("site_b", "b0")
    assert "Links rejected by cards: 1." in links.note


def test_entries_that_share_nobody_reject_all_but_what_is_declared() -> None:
    strangers = {"dataset": "site_b", "not_linked": "all"}
    links = linked(audit(*FOUND), card("site_a", strangers))
    assert links.leaked == {("site_b", "b1_0")}
    links = linked(audit(*FOUND), card("site_a", strangers | {"linked": [["a0", "b2"]]}))
    # A declared pair of patients links all of their scans.
    assert links.leaked == {("site_a", "a0_0"), ("site_a", "a0_1"), ("site_b", "b1_0")}


def test_a_declared_pair_needs_no_finding_and_may_lie_in_one_entry() -> None:
    links = linked(None, card("site_a", {"dataset": "site_a", "linked": [["a1", "a3_0"]]}))
    assert links.leaked == {("site_a", "a1_0"), ("site_a", "a1_1")}
    assert links.name("site_a", "a1") == links.name("site_a", "a3")
    assert links.undeclared == 0


def test_a_pair_found_and_declared_counts_once_in_either_order() -> None:
    declared = card("site_b", {"dataset": "site_a", "linked": [["b2_0", "a0_0"]]})
    for pair in (FOUND[0], FOUND[0][::-1]):
        assert linked(audit(pair), declared).note.startswith("1 links")


def test_clean_leaves_out_only_what_a_compared_model_was_trained_on() -> None:
    site_b = TrainingSets(entries=frozenset({"site_b"}))
    assert linked(audit(*FOUND), trained=site_b).leaked == {("site_a", "a0_0")}
    links = linked(audit(*FOUND), trained=TrainingSets())
    assert links.leaked == frozenset()
    assert "leaves out 0 of 12 test scans" in links.note
    assert "6 test patients count as 5" in links.note


def test_what_was_trained_on_is_what_the_entrants_saw() -> None:
    def seen(*models: str) -> TrainingSets:
        return trained_of(models, ("acdc", "word"), find_study("sat"))

    both = TrainingSets(entries=frozenset({"acdc", "word"}))
    assert seen("oracle", "sat-nano") == seen("threshold") == seen("no-card") == both
    assert seen("oracle", "empty") == TrainingSets()


def test_training_sides_of_another_study_are_its_own() -> None:
    """CHAOS and MSD Pancreas are divided in two ways: who trained by one has tests of the other."""
    sat, hermes = find_study("sat"), find_study("hermes")
    names = ["hermes/chaos_mr", "hermes/lits", "hermes/msd_pancreas"]
    own = training_sets(names, hermes, hermes.entries)
    assert own == TrainingSets(entries=frozenset({"chaos_mr", "lits", "msd_pancreas"}))
    elsewhere = training_sets(names, sat, sat.entries)
    # LiTS is no entry of `sat`: the study that has it divides it, in whichever run.
    assert elsewhere.entries == {"lits"}
    assert elsewhere.datasets == {"chaos_mr", "lits", "msd_pancreas"}
    tests = {p for p in ("8", "10", "15", "20") if elsewhere.has("chaos_mr", p, "test")}
    assert tests == {"8", "10", "15", "20"}, "all test patients of `sat` train in `hermes`"
    assert not elsewhere.has("chaos_mr", "31", "train")
    frame = pd.DataFrame(
        [("8_t1in", "8", "test"), ("31_t1in", "31", "train")], columns=["case", "patient", "split"]
    )
    links = find_links({"chaos_mr": frame}, None, trained=elsewhere)
    assert links.leaked == {("chaos_mr", "8_t1in")}
    assert "leaves out 1 of 1 test scans" in links.note
    assert training_sets(["sat/chaos_mr"], sat, sat.entries).has("chaos_mr", "1", "train")
    drawn = training_sets(["sat/autopet"], hermes, hermes.entries)
    assert drawn == TrainingSets(unlisted=frozenset({"autopet"}))


def test_contradictions_are_refused() -> None:
    one = card("site_a", {"dataset": "site_b", "linked": [["a0", "b0"]]})
    other = card("site_b", {"dataset": "site_a", "not_linked": [["b0", "a0"]]})
    with pytest.raises(BenchError, match="contradict") as caught:
        overlaps_of([one, other])
    assert "site_a/a0 and site_b/b0" in str(caught.value)
    with pytest.raises(ValidationError, match="with itself"):
        card("site_a", {"dataset": "site_a", "not_linked": [["a0", "a0"]]})


def test_ids_that_nobody_has_are_named() -> None:
    from evaluation.tables.views import Member

    declared = overlaps_of([card("site_a", {"dataset": "site_b", "linked": [["a0", "b77"]]})])
    scans = [Member("site_a", "a0_0", "a0", "test"), Member("site_b", "b0_0", "b0", "test")]
    assert declared.unknown(scans) == ["site_b/b77"]
