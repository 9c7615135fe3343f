"""Changed words: they say what their kind promises, for every class of the vocabulary."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.classes import find_class, vocabulary
from evaluation.stress import wording
from evaluation.stress.prompts import ScanFacts, prompts_of

CLASSES = [info.key for info in vocabulary()]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_most_classes_have_synonyms_and_none_is_another_class():
    found = {key: wording.synonyms(*key) for key in CLASSES}
    for (modality, name), texts in found.items():
        for text in texts:
            assert text != name
            if wording.is_name(modality, text):
                assert find_class(modality, text).name == name
            sides = {"left", "right"}
            # An abbreviation may hold the side (LV); none names the other one.
            assert sides & set(text.split()) <= sides & set(name.split())
    assert sum(bool(texts) for texts in found.values()) > 0.9 * len(CLASSES)


def test_a_typing_error_is_one_slip_that_keeps_the_side():
    for modality, name in CLASSES:
        text = wording.mistyped(modality, name, generator())
        if text is None:
            assert all(
                len(w) < 4 or not w.isalpha() or w in ("left", "right") for w in name.split()
            )
            continue
        assert not wording.is_name(modality, text)
        assert abs(len(text) - len(name)) <= 1
        assert sum(a != b for a, b in zip(text.split(" "), name.split(" "), strict=True)) == 1
        assert text == wording.mistyped(modality, name, generator())


@pytest.mark.parametrize("modality", ["ct", "mri", "pet"])
def test_another_modality_is_never_the_scan_s_own(modality):
    own = wording.MODALITY_WORDS[modality]
    texts = {wording.of_another_modality(modality, "liver", generator(i)) for i in range(40)}
    assert len(texts) == 6
    assert not any(own in text for text in texts)
    assert all("liver" in text for text in texts)


def test_a_class_is_asked_alike_whatever_else_is_drawn():
    shown = ("left kidney", "right kidney", "liver", "spleen", "kidney")
    facts = ScanFacts("ct", shown, ("left lens",), {"liver": "spleen"})
    every = prompts_of(facts, "word/1", 0, 10)
    some = prompts_of(facts, "word/1", 0, 2)
    assert len({p.classes for p in some if p.kind == "negation"}) == 2
    assert set(some) < set(every)
    assert prompts_of(facts, "word/1", 1, 10) != every
    kinds = {(p.kind, p.classes): p for p in every}
    assert kinds["side", ("left kidney",)].text == "right kidney"
    assert kinds["general", ("left kidney", "right kidney")].meaning == ("kidney",)
    assert kinds["absent", ("liver",)].text == "left lens"
    assert ("side", ("liver",)) not in kinds
