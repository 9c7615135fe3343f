"""A card, or a pattern on the names of its cases, says modality and sequence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import find_card


def card(**changes: object) -> DatasetCard:
    values = find_card("acdc").model_dump(mode="json")
    return DatasetCard.model_validate(values | {"id": "own", **changes})


def test_a_pattern_before_the_reader_before_the_card() -> None:
    own = card(sequence="cine", case_patterns=[{"cases": "_t1$", "sequence": "T1"}])
    assert own.sequence_of("a_t1", "frame01") == "T1"
    assert own.sequence_of("a_t2", "frame01") == "frame01"
    assert own.sequence_of("a_t2") == "cine"
    assert card().sequence_of("a_t2") is None


def test_patterns_may_name_another_modality_and_the_first_that_says_it_counts() -> None:
    patterns = [
        {"cases": "^x_", "sequence": "T1"},
        {"cases": "_pet$", "modality": "pet"},
        {"cases": "^x_", "modality": "ct"},
    ]
    own = card(case_patterns=patterns)
    assert own.modalities == ("mri", "pet", "ct")
    found = [own.modality_of(case) for case in ("a", "a_pet", "x_pet", "x_b")]
    assert found == ["mri", "pet", "pet", "ct"]
    assert own.sequence_of("x_pet") == "T1"
    assert card().modalities == ("mri",)


def test_regions_of_ones_own_classes_hold_in_each_modality() -> None:
    classes = [{"name": "whisker", "values": [1]}]
    own = card(classes=classes, case_patterns=[{"cases": "_pet$", "modality": "pet"}])
    assert class_regions([own]) == {("mri", "whisker"): "thorax", ("pet", "whisker"): "thorax"}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ({"cases": "(", "sequence": "T1"}, "not a regular expression"),
        ({"cases": "a"}, "give modality, sequence or both"),
        ({"cases": "a", "modality": "us"}, "modality"),
    ],
)
def test_wrong_patterns_are_refused(pattern: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        card(case_patterns=[pattern])
