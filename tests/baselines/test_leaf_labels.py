"""Leaf labels are disjoint, and every class is a union of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.classes.entry import ClassEntry
from evaluation.classes.leaves import leaf_map, leaves_of, places_of
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks

KITS = [
    ClassEntry(name="kidney", values=(1, 2, 3)),
    ClassEntry(name="kidney tumor", values=(2,)),
    ClassEntry(name="kidney cyst", values=(3,)),
]


def in_one_layer(entries: list[ClassEntry], raw: np.ndarray) -> Segmentation:
    places = {
        e.name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=e.values or ()),))
        for e in entries
    }
    return Segmentation((raw,), np.eye(4), places)


def test_overlapping_values_become_one_leaf_for_each_combination() -> None:
    leaves = leaves_of(KITS, "kits21")
    assert [(leaf.value, leaf.owner) for leaf in leaves] == [
        (1, "kidney"),
        (2, "kidney tumor"),
        (3, "kidney cyst"),
    ]
    assert places_of(leaves, ["kidney", "kidney cyst"]) == {
        "kidney": (1, 2, 3),
        "kidney cyst": (3,),
    }


def test_a_restricted_run_keeps_the_class_whole() -> None:
    leaves = leaves_of(KITS[:1], "kits21")
    assert len(leaves) == 1
    raw = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    labels = leaf_map(in_one_layer(KITS, raw), leaves, ["kidney"]).labels
    assert labels.tolist() == (raw > 0).astype(int).tolist()


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_every_class_is_the_union_of_its_leaves(seed: int, packed: bool) -> None:
    raw = np.random.default_rng(seed).integers(0, 4, (4, 3, 2)).astype(np.uint8)
    reference = in_one_layer(KITS, raw)
    if packed:  # overlapping classes in layers of their own
        masks = {name: reference.mask(name) for name in reference.classes}
        reference = pack_masks(masks, np.eye(4), "annotated")
    names = list(reference.classes)
    leaves = leaves_of(KITS, "kits21")
    found = leaf_map(reference, leaves, names)
    assert found.resolved_voxels == 0
    for name, values in places_of(leaves, names).items():
        assert (np.isin(found.labels, values) == reference.mask(name)).all()


def test_a_declared_inner_mask_stays_part_of_the_outer_class() -> None:
    entries = [
        ClassEntry(name="thoracic cavity", file="cavity"),
        ClassEntry(name="lung effusion", file="effusion"),
    ]
    leaves = leaves_of(entries, "nsclc")
    cavity, effusion = np.zeros((2, 6, 4, 4), dtype=bool)
    cavity[:4], effusion[3:5] = True, True
    reference = pack_masks(
        {"thoracic cavity": cavity, "lung effusion": effusion}, np.eye(4), "annotated"
    )
    found = leaf_map(reference, leaves, list(reference.classes))
    assert found.labels[:, 0, 0].tolist() == [1, 1, 1, 2, 2, 0]
    assert found.resolved_voxels == 16  # effusion outside of the cavity
    assert places_of(leaves, ["thoracic cavity"]) == {"thoracic cavity": (1, 2)}


def test_overlapping_masks_go_to_the_later_class() -> None:
    entries = [ClassEntry(name="a", file="a"), ClassEntry(name="b", file="b")]
    a, b = np.zeros((2, 3, 1, 1), dtype=bool)
    a[:2], b[1:] = True, True
    reference = pack_masks({"a": a, "b": b}, np.eye(4), "annotated")
    found = leaf_map(reference, leaves_of(entries, "other"), ["a", "b"])
    assert found.labels.ravel().tolist() == [1, 2, 2]
    assert found.resolved_voxels == 1


def test_a_class_that_is_not_annotated_counts_as_absent() -> None:
    entries = [ClassEntry(name="a", file="a"), ClassEntry(name="b", file="b")]
    reference = pack_masks({"b": np.ones((2, 2, 2), dtype=bool)}, np.eye(4), "annotated")
    assert (leaf_map(reference, leaves_of(entries, "other"), ["a", "b"]).labels == 2).all()


@pytest.mark.parametrize("values", [tuple(range(55, 71)), (1,)])
def test_values_of_one_class_are_one_leaf(values: tuple[int, ...]) -> None:
    assert len(leaves_of([ClassEntry(name="liver", values=values)], "chaos_mr")) == 1
