"""Sides and neighbours are judged as a reader would, and overlaps are those of the masks."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.classes import vocabulary
from evaluation.confusions.judging import judge
from evaluation.confusions.names import (
    confusable,
    other_side,
    place_in_row,
    rows_of,
    side_pairs,
    without_side,
)
from evaluation.confusions.overlaps import count_overlaps
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks

RIBS = [f"left rib {n}" for n in range(1, 5)]
KIDNEYS = ["left kidney", "right kidney"]
AFFINE = np.eye(4)


def test_pairs_of_names() -> None:
    assert other_side("left lung upper lobe") == "right lung upper lobe"
    assert other_side("heart left ventricle") == "heart right ventricle"
    assert other_side("liver") is None
    assert without_side("heart left ventricle") == "heart ventricle"
    names = ["right kidney", "left kidney", "liver", "left adrenal gland", "left rib 1"]
    assert side_pairs(names) == [("left kidney", "right kidney")]
    assert confusable([*names, "left rib 2"]) == [*names[:2], "left rib 1", "left rib 2"]


def test_rows_of_the_vocabulary() -> None:
    ct = rows_of([info.name for info in vocabulary() if info.modality == "ct"])
    assert {row: len(members) for row, members in ct.items()} == {
        "left ribs": 12, "right ribs": 12, "vertebrae": 24,
    }  # fmt: skip
    assert sorted(ct["vertebrae"].values()) == list(range(1, 25))
    mri = rows_of([info.name for info in vocabulary() if info.modality == "mri"])
    assert {row: len(members) for row, members in mri.items()} == {
        "vertebrae": 9, "intervertebral discs": 9,
    }  # fmt: skip
    for members in mri.values():
        numbers = sorted(members.values())
        assert numbers == list(range(numbers[0], numbers[0] + 9))
    assert place_in_row("left rib") is None


def bars(places: dict[str, int | None], kind: str = "direct") -> Segmentation:
    """Bars of five voxels along x, each from its start; None: empty."""
    masks = {}
    for name, start in places.items():
        masks[name] = np.zeros((40, 3, 3), dtype=bool)
        if start is not None:
            masks[name][start : start + 5] = True
    return pack_masks(masks, AFFINE, kind)  # type: ignore[arg-type]


def outcomes(reference: Segmentation, prediction: Segmentation | None, names: list[str]) -> Counter:
    return Counter(judged.outcome for judged in judge(reference, prediction, names))


def test_sides_are_exchanged_if_either_lies_more_in_the_other() -> None:
    reference = bars({"left kidney": 0, "right kidney": 20})

    def predicted(left: int | None, right: int | None) -> list[tuple[str, str, str]]:
        prediction = bars({"left kidney": left, "right kidney": right})
        judged = judge(reference, prediction, KIDNEYS)
        return [(j.group, j.outcome, j.found_in) for j in judged]

    assert predicted(0, 20) == [("kidney", "own", "left kidney")]
    assert predicted(20, 0) == predicted(20, 20) == [("kidney", "other", "right kidney")]
    assert predicted(0, None) == [("kidney", "own", "left kidney")]
    assert predicted(None, None) == [("kidney", "empty", "")]
    assert outcomes(reference, None, KIDNEYS) == {"missing": 1}
    assert outcomes(reference, bars({"left kidney": 0}), KIDNEYS) == {"missing": 1}
    # One side that the scan does not show, or that the model does not support: nothing to judge.
    assert not judge(bars({"left kidney": 0, "right kidney": None}), reference, KIDNEYS)
    assert not judge(reference, reference, KIDNEYS[:1])


def test_confused_ribs() -> None:
    truth = bars({name: 8 * i for i, name in enumerate(RIBS)})
    guess = bars(dict(zip(RIBS, (1, 17, 0, None), strict=True)))
    assert [(j.class_name, j.outcome, j.found_in) for j in judge(truth, guess, RIBS)] == [
        (RIBS[0], "own", RIBS[0]),
        (RIBS[1], "other", RIBS[2]),
        (RIBS[2], "other", RIBS[0]),
        (RIBS[3], "empty", ""),
    ]
    assert outcomes(truth, bars(dict.fromkeys(RIBS, 35)), RIBS) == {"nowhere": 4}
    assert outcomes(truth, bars({RIBS[0]: 0}), RIBS) == {"own": 1, "missing": 3}
    # A rib that the scan does not show is not judged.
    cut = bars({RIBS[0]: 0, RIBS[1]: None})
    assert outcomes(cut, cut, RIBS) == {"own": 1}


@st.composite
def layered(draw: st.DrawFn, shape: tuple[int, int, int]) -> Segmentation:
    """Two layers; class `d` has parts in both, which may share voxels."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    order = draw(st.sampled_from("CF"))
    layers = (
        np.asarray(rng.integers(0, 4, shape), dtype=np.uint8, order=order),
        np.asarray(rng.integers(0, 3, shape) * 30000, dtype=np.uint16, order=order),
    )
    parts = {
        "a": [(0, (1,))],
        "b": [(0, (2, 3))],
        "c": [(1, (60000,))],
        "d": [(0, (1, 2)), (1, (30000,))],
    }
    classes = {
        name: ClassPlace(kind="direct", parts=tuple(Part(layer=n, values=v) for n, v in found))
        for name, found in parts.items()
    }
    return Segmentation(layers, AFFINE, classes)


@settings(max_examples=30, deadline=None)
@given(layered((5, 4, 3)), layered((5, 4, 3)))
def test_overlaps_are_those_of_the_masks(a: Segmentation, b: Segmentation) -> None:
    names = ["d", "a", "c", "b"]
    found = count_overlaps(a, b, names)

    def voxels(mask: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask))

    assert found.reference.tolist() == [voxels(a.mask(n)) for n in names]
    assert found.prediction.tolist() == [voxels(b.mask(n)) for n in names]
    assert found.both.tolist() == [[voxels(b.mask(k) & a.mask(i)) for i in names] for k in names]
