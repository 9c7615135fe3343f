"""The sweep against `surface-distance` and MONAI, and what must not change a score."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surface_distance import lookup_tables

from evaluation.errors import BenchError
from evaluation.metrics import ClassPair, score, score_pairs
from evaluation.metrics.areas import contour_lengths, surface_areas
from evaluation.metrics.offsets import ToleranceTieWarning, corner_steps
from evaluation.metrics.passes import plan_passes
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks

SPACINGS = (0.3, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
TOLERANCES = (0.0, 0.5, 1.0, 2.0, 3.0)
AREAS = [
    "surface_reference_total_mm2",
    "surface_reference_within_mm2",
    "surface_prediction_total_mm2",
    "surface_prediction_within_mm2",
]
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def segmentation(labels: np.ndarray, classes: dict[str, tuple[int, ...]]) -> Segmentation:
    places = {
        name: ClassPlace(kind="annotated", parts=(Part(layer=0, values=values),))
        for name, values in classes.items()
    }
    return Segmentation((labels,), np.eye(4), places)


@st.composite
def pairs(draw, flat: bool = False):
    """Two label maps with up to four classes, unions of them, spacing and tolerances."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = [draw(st.integers(2, 14)) for _ in range(3)]
    if flat:
        shape[draw(st.integers(0, 2))] = 1
    n = draw(st.integers(1, 4))
    a = rng.integers(0, n + 1, [-(-s // 3) for s in shape])
    a = a.repeat(3, 0).repeat(3, 1).repeat(3, 2)[: shape[0], : shape[1], : shape[2]]
    match draw(st.sampled_from(["roll", "noise", "empty", "same"])):
        case "roll":
            b = np.roll(a, rng.integers(-2, 3, 3), (0, 1, 2))
        case "noise":
            b = np.where(rng.random(shape) < 0.2, rng.integers(0, n + 1, shape), a)
        case "empty":
            b = np.zeros_like(a)
        case _:
            b = a
    kind = draw(st.sampled_from([np.uint8, np.uint16, np.int16, np.int32]))
    classes = {str(v): (v,) for v in range(1, n + 2)}
    if n > 1:
        classes |= {"first two": (1, 2), "last two": (n - 1, n)}
    spacing = tuple(draw(st.sampled_from(SPACINGS)) for _ in range(3))
    tolerances = draw(st.lists(st.sampled_from(TOLERANCES), min_size=1, max_size=3, unique=True))
    order = draw(st.sampled_from("CF"))
    return (
        segmentation(np.asarray(a, kind, order=order), classes),
        segmentation(np.asarray(b, np.uint8), classes),
        spacing,
        tolerances,
    )


def measured(reference, prediction, spacing, tolerances, engine="sweep"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToleranceTieWarning)
        return score(reference, prediction, spacing, tolerances, list(reference.classes), engine)


def assert_same(ours, theirs, within=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        counts = [
            (s.class_name, s.tolerance_mm, s.status, s.reference_voxels, s.prediction_voxels)
            for s in (a, b)
        ]
        assert counts[0] == counts[1]
        assert a.intersection_voxels == b.intersection_voxels
        np.testing.assert_allclose(a["dsc"], b["dsc"], rtol=0, atol=1e-15)
        np.testing.assert_allclose(a["nsd"], b["nsd"], rtol=0, atol=within)
        for name in AREAS:
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=max(within, 1e-9))


@quick
@given(pairs())
def test_sweep_equals_surface_distance(case):
    assert_same(measured(*case), measured(*case, engine="surface-distance"))


@quick
@given(pairs(flat=True))
def test_one_slice_is_scored_as_a_contour_like_surface_distance_in_2d(case):
    ours = measured(*case)
    assert_same(ours, measured(*case, engine="surface-distance"))
    assert {s.implementation for s in ours} == {"sweep-2d"}


@settings(parent=quick, max_examples=8)
@given(pairs())
def test_sweep_equals_monai_in_float32(case):
    pytest.importorskip("monai", reason="MONAI comes with the extra `sat`")
    assert_same(measured(*case), measured(*case, engine="monai"), within=1e-5)


@quick
@given(pairs())
def test_bounds_identity_and_symmetry(case):
    reference, prediction, spacing, tolerances = case
    there = measured(reference, prediction, spacing, tolerances)
    back = measured(prediction, reference, spacing, tolerances)
    for a, b in zip(there, back, strict=True):
        if not math.isnan(a["dsc"]):
            assert 0 <= a["dsc"] <= 1
            assert 0 <= a["nsd"] <= 1
            assert a["dsc"] == b["dsc"]
            assert a["nsd"] == pytest.approx(b["nsd"], abs=1e-15)
    for same in measured(reference, reference, spacing, tolerances):
        if same.status != "both_empty":
            assert (same["dsc"], same["nsd"]) == (1.0, 1.0)


@quick
@given(pairs(), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_axis_order_flips_padding_and_several_tolerances_change_nothing(case, order, flips):
    reference, prediction, spacing, tolerances = case
    before = measured(*case)
    changed = []
    for side in (reference, prediction):
        array = np.pad(side.layers[0], ((2, 0), (1, 3), (0, 4)))
        array = array.transpose(order)[tuple(slice(None, None, -1 if f else 1) for f in flips)]
        changed.append(Segmentation((array,), np.eye(4), side.classes))
    turned = tuple(spacing[axis] for axis in order)
    assert_same(before, measured(*changed, turned, tolerances), within=1e-12)
    alone = [s for t in tolerances for s in measured(reference, prediction, spacing, [t])]
    by_key = {(s.class_name, s.tolerance_mm): s for s in alone}
    for found in before:
        other = by_key[found.class_name, found.tolerance_mm]
        assert found["nsd"] == other["nsd"] or math.isnan(found["nsd"])


def test_overlapping_classes_in_layers_and_unions_over_layers():
    rng = np.random.default_rng(5)
    masks = {n: rng.random((12, 11, 10)) < 0.3 for n in ("cavity", "effusion", "organ", "tumour")}
    moved = {name: np.roll(mask, 1, axis=1) for name, mask in masks.items()}
    sides = []
    for found, names in ((masks, list(masks)), (moved, list(reversed(masks)))):
        packed = pack_masks({n: found[n] for n in names}, np.eye(4), "direct")
        parts = (*packed.classes["cavity"].parts, *packed.classes["tumour"].parts)
        places = dict(packed.classes) | {"both": ClassPlace(kind="union", parts=parts)}
        sides.append(Segmentation(packed.layers, np.eye(4), places))
    assert len(sides[0].layers) > 1
    args = (*sides, (1.0, 1.5, 2.0), [1.0, 1.8])
    assert_same(measured(*args), measured(*args, engine="surface-distance"))


def test_more_classes_than_one_pass_takes_and_wide_labels():
    labels = np.arange(1, 601).reshape(10, 10, 6).astype(np.uint16)
    side = segmentation(labels, {str(v): (v,) for v in range(1, 601)} | {"all": (*range(1, 601),)})
    found = measured(side, side, (1.0, 1.0, 1.0), [1.0])
    assert [s["dsc"] for s in found] == [1.0] * 601
    assert len(plan_passes([ClassPair(n, p, p) for n, p in side.classes.items()])) == 4
    far = segmentation(labels.astype(np.int64) * 200_000, {"1": (1,)})
    with pytest.raises(BenchError, match="16 bits"):
        measured(far, far, (1.0, 1.0, 1.0), [1.0])


def test_values_that_a_type_cannot_hold_do_not_wrap_round():
    labels = np.full((3, 3, 3), 44, dtype=np.uint8)
    side = segmentation(labels, {"300": (300,), "44": (44,), "-212": (-212,)})
    found = measured(side, side, (1.0, 1.0, 1.0), [1.0])
    assert [s.status for s in found] == ["both_empty", "scored", "both_empty"]
    negative = segmentation(-labels.astype(np.int16), {"-44": (-44,), "44": (44,)})
    assert [s.status for s in measured(negative, negative, (1, 1, 1), [1.0])] == [
        "scored",
        "both_empty",
    ]


def test_every_status_and_what_its_record_knows():
    block = np.zeros((6, 6, 6), dtype=bool)
    block[2:4, 2:4, 2:4] = True
    none = np.zeros_like(block)
    reference = pack_masks(
        {"hit": block, "missed": block, "absent": none, "invented": none, "unasked": block},
        np.eye(4),
        "annotated",
    )
    prediction = pack_masks(
        {"hit": block, "missed": none, "absent": none, "invented": block, "extra": block},
        np.eye(4),
        "direct",
    )
    names = ["hit", "missed", "absent", "invented", "unasked", "extra"]
    for engine in ("sweep", "surface-distance"):
        found = score(reference, prediction, (1, 1, 2), [1.0], names, engine)
        assert [s.status for s in found] == [
            "scored",
            "prediction_empty",
            "both_empty",
            "reference_empty",
            "unsupported",
            "not_annotated",
        ]
        assert [s["dsc"] for s in found[:4]] == pytest.approx([1, 0, math.nan, 0], nan_ok=True)
        assert [s["nsd"] for s in found[:4]] == pytest.approx([1, 0, math.nan, 0], nan_ok=True)
        assert found[4].reference_voxels == 8
        assert found[4].prediction_voxels is None
        assert found[4].surface_reference_total_mm2 == pytest.approx(
            found[0].surface_reference_total_mm2
        )
        assert math.isnan(found[4]["dsc"])
        assert found[5].reference_voxels is None
        assert found[5].prediction_voxels == 8
        missing = score(reference, None, (1, 1, 2), [1.0], ["hit", "absent", "extra"], engine)
        assert [s.status for s in missing] == [
            "prediction_missing",
            "prediction_missing",
            "not_annotated",
        ]
        assert [s.reference_voxels for s in missing] == [8, 0, None]


def test_area_tables_equal_those_of_surface_distance():
    # Their bits count from the other end.
    mirrored = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    for spacing in ((1.0, 1.0, 1.0), (0.3, 1.7, 5.0), (2.2, 0.9, 0.9)):
        theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
        np.testing.assert_allclose(surface_areas(spacing), theirs[mirrored], rtol=1e-14)
        flat = lookup_tables.create_table_neighbour_code_to_contour_length(spacing[:2])
        ours = contour_lengths(spacing[:2])
        for code in range(16):
            assert ours[17 * code] == pytest.approx(flat[int(f"{code:04b}"[::-1], 2)], rel=1e-15)


def test_steps_are_nearest_first_and_complete():
    spacing, tolerances = (0.8, 1.0, 1.5), [0.0, 1.0, 2.0]
    steps = corner_steps(spacing, tolerances, (40, 40, 40))
    lengths = np.linalg.norm(steps[:, :3] * spacing, axis=1)
    assert (np.diff(lengths) >= -1e-12).all()
    assert steps[0].tolist() == [0, 0, 0, 0]
    everything = np.array(list(itertools.product(range(-4, 5), repeat=3)))
    assert len(steps) == (np.linalg.norm(everything * spacing, axis=1) <= 2).sum()
    assert corner_steps(spacing, [1000.0], (2, 2, 2)).shape == (125, 4)


def test_a_tie_at_the_tolerance_is_announced():
    # 3 x 0.1 is more than 0.3 in float64, 0.3 x 1 is not.
    with pytest.warns(ToleranceTieWarning, match="both sides"):
        corner_steps((0.1, 0.3, 1.0), [0.3], (9, 9, 9))
    for spacing in np.arange(20, 101) / 100:
        corner_steps((spacing,) * 3, [1.0], (20, 20, 20))


def test_unusable_arguments_are_refused():
    side = segmentation(np.ones((3, 3, 3), np.uint8), {"1": (1,)})
    other = segmentation(np.ones((3, 3, 4), np.uint8), {"1": (1,)})
    floats = segmentation(np.ones((3, 3, 3)), {"1": (1,)})
    for arguments, message in (
        ((side, other, (1, 1, 1), [1.0], ["1"]), "one shape"),
        ((side, floats, (1, 1, 1), [1.0], ["1"]), "integers"),
        ((side, side, (1, 0, 1), [1.0], ["1"]), "spacing"),
        ((side, side, (1, 1, 1), [], ["1"]), "tolerances"),
        ((side, side, (1, 1, 1), [-1.0], ["1"]), "tolerances"),
        ((side, side, (1, 1, 1), [1.0], ["1"], "swep"), "no engine"),
    ):
        with pytest.raises(BenchError, match=message):
            score(*arguments)
    place = ClassPlace(kind="direct", parts=(Part(layer=3, values=(1,)),))
    with pytest.raises(BenchError, match="layer that is not there"):
        score_pairs(side.layers, side.layers, [ClassPair("1", place, place)], (1, 1, 1), [1.0])
