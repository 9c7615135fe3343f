"""Distances of all classes against other implementations, and what must not change them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

import satbench
from evaluation.errors import BenchError
from evaluation.metrics.catalogue import asked_metrics, find_at, find_metric
from evaluation.metrics.distances import elements
from evaluation.metrics.distances.definitions import DEFINITIONS, find_definition
from evaluation.metrics.distances.distribution import field_diagonal_mm
from evaluation.metrics.distances.elements import distance_steps, element_distances
from evaluation.metrics.distances.masks import mask_distances
from evaluation.metrics.distances.transform import nearest_distances
from evaluation.metrics.grid import Grid
from evaluation.metrics.records import ClassPair
from evaluation.volumes.segmentation import pack_masks

SPACINGS = (0.3, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
METRICS = ("dsc", "hd", "hd50", "hd95", "assd", "masd", "nsd@0.7", "nsd@2", "boundary_iou@2")
NAMES = list(DEFINITIONS)
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@st.composite
def label_pairs(draw):
    """Two label maps with up to three classes and a spacing; not cubes, with far pieces."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = [draw(st.integers(2, 16)) for _ in range(3)]
    n = draw(st.integers(1, 3))
    a = rng.integers(0, n + 1, [-(-s // 4) for s in shape])
    a = a.repeat(4, 0).repeat(4, 1).repeat(4, 2)[: shape[0], : shape[1], : shape[2]]
    match draw(st.sampled_from(["roll", "noise", "few voxels", "missed", "same"])):
        case "roll":
            b = np.roll(a, rng.integers(-3, 4, 3), (0, 1, 2))
        case "noise":
            b = np.where(rng.random(shape) < 0.1, rng.integers(0, n + 1, shape), a)
        case "few voxels":
            b = np.where(rng.random(shape) < 0.02, rng.integers(0, n + 1, shape), 0)
        case "missed":
            b = np.where(a == 1, 0, a)
        case _:
            b = a
    spacing = tuple(draw(st.sampled_from(SPACINGS)) for _ in range(3))
    order = draw(st.sampled_from("CF"))
    return np.asarray(a, np.uint8, order=order), np.asarray(b, np.uint8), spacing, range(1, n + 1)


def scored(a, b, spacing, classes, definition="surface-element", metrics=METRICS):
    return satbench.score(
        a, b, spacing, classes=list(classes), metrics=metrics, definition=definition
    )


def score_masks(a, b, spacing, metrics, definition="surface-element"):
    return satbench.score(a, b, spacing_mm=spacing, metrics=metrics, definition=definition)


def assert_same(first, second, within=1e-9):
    for value, metrics in first.items():
        for name, number in metrics.items():
            assert number == pytest.approx(second[value][name], abs=within, nan_ok=True), name


@quick
@given(label_pairs())
def test_surface_elements_equal_surface_distance(case):
    import surface_distance as peer

    a, b, spacing, classes = case
    ours = scored(*case)
    for value in classes:
        if not ((a == value).any() and (b == value).any()):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            theirs = peer.compute_surface_distances(a == value, b == value, spacing)
        there, back = peer.compute_average_surface_distance(theirs)
        areas = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
        expected = {
            "hd": peer.compute_robust_hausdorff(theirs, 100),
            "masd": (there + back) / 2,
            "assd": (there * areas[0] + back * areas[1]) / sum(areas),
            "nsd@0.7": peer.compute_surface_dice_at_tolerance(theirs, 0.7),
            "nsd@2": peer.compute_surface_dice_at_tolerance(theirs, 2),
        }
        for name, number in expected.items():
            assert ours[value][name] == pytest.approx(number, abs=1e-9), name
        for percent in (50, 95):
            # A share of exactly the percentage is reached by one rounding and not by another.
            either = [peer.compute_robust_hausdorff(theirs, percent + d) for d in (-1e-9, 1e-9)]
            near = [ours[value][f"hd{percent}"] - e for e in either]
            assert min(map(abs, near)) < 1e-9


def border_distances(a, b, spacing):
    """From a's border voxels to b's, by scipy's transform."""
    borders = [m & ~ndimage.binary_erosion(np.pad(m, 1))[1:-1, 1:-1, 1:-1] for m in (a, b)]
    return ndimage.distance_transform_edt(~borders[1], sampling=spacing)[borders[0]]


@quick
@given(label_pairs())
def test_border_voxels_equal_a_recipe_of_scipy(case):
    a, b, spacing, classes = case
    larger, pooled = (scored(*case, name) for name in ("voxel-larger", "voxel-pooled"))
    for value in classes:
        masks = a == value, b == value
        if not all(mask.any() for mask in masks):
            continue
        there, back = (border_distances(*m, spacing) for m in (masks, masks[::-1]))
        both = np.concatenate([there, back])
        for found, p95, nsd in (
            (
                larger[value],
                max(np.percentile(there, 95), np.percentile(back, 95)),
                (both <= 2).mean(),
            ),
            (
                pooled[value],
                np.percentile(both, 95),
                ((there <= 2).mean() + (back <= 2).mean()) / 2,
            ),
        ):
            assert found["hd"] == pytest.approx(both.max(), abs=1e-9)
            assert found["hd95"] == pytest.approx(p95, abs=1e-9)
            assert found["assd"] == pytest.approx(both.mean(), abs=1e-9)
            assert found["masd"] == pytest.approx((there.mean() + back.mean()) / 2, abs=1e-9)
            assert found["nsd@2"] == pytest.approx(nsd, abs=1e-9)


# MONAI calls its own functions in a way that it has deprecated.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@settings(parent=quick, max_examples=8)
@given(label_pairs())
def test_border_voxels_equal_monai_in_float32(case):
    metrics = pytest.importorskip("monai.metrics", reason="MONAI comes with the training extras")
    torch = pytest.importorskip("torch")
    a, b, spacing, classes = case
    ours = scored(*case, "voxel-larger")
    for value in classes:
        if not ((a == value).any() and (b == value).any()):
            continue
        pair = [torch.from_numpy((m == value)[None, None].astype(np.float32)) for m in (b, a)]
        for name, theirs in (
            ("hd95", metrics.compute_hausdorff_distance(*pair, percentile=95, spacing=spacing)),
            (
                "assd",
                metrics.compute_average_surface_distance(*pair, symmetric=True, spacing=spacing),
            ),
        ):
            assert ours[value][name] == pytest.approx(float(theirs), abs=1e-4), name


@quick
@given(label_pairs(), st.integers(1, 30))
def test_where_the_sweep_stops_and_the_transform_begins_does_not_show(case, steps):
    before = scored(*case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elements, "MOST_STEPS", steps)
        patch.setattr(elements, "_ROOM_FOR_FAR", 8)
        patch.setattr(elements, "_BATCH", 50)
        assert_same(before, scored(*case), within=1e-12)


@quick
@given(label_pairs(), st.sampled_from(NAMES))
def test_exchanging_the_sides_changes_nothing(case, definition):
    a, b, spacing, classes = case
    assert_same(scored(*case, definition), scored(b, a, spacing, classes, definition), 1e-12)


@quick
@given(
    label_pairs(),
    st.sampled_from(NAMES),
    st.permutations(range(3)),
    st.tuples(*[st.booleans()] * 3),
)
def test_axis_order_reflection_and_padding_change_nothing(case, definition, order, flips):
    a, b, spacing, classes = case
    turned = [
        np.pad(m, ((2, 0), (1, 3), (0, 4))).transpose(order)[
            tuple(slice(None, None, -1 if f else 1) for f in flips)
        ]
        for m in (a, b)
    ]
    after = scored(*turned, tuple(spacing[axis] for axis in order), classes, definition)
    assert_same(scored(*case, definition), after, 1e-12)


@pytest.mark.long
@settings(parent=quick, max_examples=1000)
@given(
    label_pairs(),
    st.sampled_from(NAMES),
    st.permutations(range(3)),
    st.tuples(*[st.booleans()] * 3),
    st.sampled_from((0.25, 2.0, 8.0)),
)
def test_a_thousand_pairs_keep_every_symmetry(case, definition, order, flips, factor):
    """Sides exchanged, moved, turned, reflected, padded and scaled, all at once and one by one."""
    a, b, spacing, classes = case
    before = scored(*case, definition)
    moved = [np.pad(m, ((3, 1), (0, 2), (5, 0))) for m in (b, a)]
    flipped = tuple(slice(None, None, -1 if f else 1) for f in flips)
    turned = [m.transpose(order)[flipped] for m in moved]
    wide = tuple(spacing[axis] * factor for axis in order)
    names = [
        f"nsd@{float(name[4:]) * factor}" if name.startswith("nsd") else name for name in METRICS
    ]
    after = scored(*turned, wide, classes, definition, names)
    for value, metrics in before.items():
        for name, other in zip(METRICS, names, strict=True):
            scale = factor if name.startswith(("hd", "assd", "masd")) else 1
            assert after[value][other] == pytest.approx(
                metrics[name] * scale, rel=1e-9, abs=1e-9, nan_ok=True
            ), name


@quick
@given(label_pairs())
def test_border_voxels_of_the_sweep_are_the_bands_of_one_voxel(case):
    a, b, *_ = case
    for value, found in scored(*case, metrics=("boundary_iou", "hd")).items():
        masks = [m == value for m in (a, b)]
        borders = [m & ~ndimage.binary_erosion(np.pad(m, 1))[1:-1, 1:-1, 1:-1] for m in masks]
        union = (borders[0] | borders[1]).sum()
        expected = (borders[0] & borders[1]).sum() / union if union else math.nan
        if all(m.any() for m in masks) or not union:
            assert found["boundary_iou"] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@quick
@given(label_pairs(), st.sampled_from(NAMES), st.sampled_from((0.25, 2.0, 8.0)))
def test_distances_scale_with_the_spacing(case, definition, factor):
    a, b, spacing, classes = case
    lengths = ("hd", "hd50", "hd95", "assd", "masd")
    before = scored(*case, definition, metrics=(*lengths, "nsd@2"))
    wide = tuple(s * factor for s in spacing)
    after = scored(a, b, wide, classes, definition, metrics=(*lengths, f"nsd@{2 * factor}"))
    for value, metrics in before.items():
        for name in lengths:
            assert after[value][name] == pytest.approx(
                metrics[name] * factor, rel=1e-12, nan_ok=True
            )
        assert after[value][f"nsd@{2 * factor}"] == pytest.approx(
            metrics["nsd@2"], abs=1e-12, nan_ok=True
        )


@quick
@given(label_pairs(), st.sampled_from(NAMES))
def test_order_of_metrics_and_one_mask_alone(case, definition):
    a, b, spacing, _ = case
    for value, found in scored(*case, definition).items():
        alone = score_masks(a == value, b == value, spacing, METRICS, definition)
        assert alone == pytest.approx(found, abs=1e-12, nan_ok=True)
        if not math.isnan(found["hd"]):
            assert 0 <= found["hd50"] <= found["hd95"] <= found["hd"]
            assert found["assd"] <= found["hd"]
            assert found["nsd@0.7"] <= found["nsd@2"]
            assert score_masks(a == value, a == value, spacing, ["hd", "nsd@0"], definition) == {
                "hd": 0,
                "nsd@0": 1,
            }


@settings(parent=quick, max_examples=15)
@given(
    label_pairs(),
    st.sampled_from(NAMES),
    st.sampled_from((("u2", 300), ("i2", -300), ("i1", -40), (">i2", 300), ("i8", -7), ("u4", 85))),
    st.booleans(),
)
def test_the_type_and_the_values_of_labels_change_nothing(case, definition, kind, spaced):
    a, b, spacing, classes = case
    dtype, factor = kind
    wide = [(m.astype(np.int64) * factor).astype(dtype) for m in (a, b)]
    if spaced:
        # Every other voxel of a larger array.
        wide = [m.repeat(2, 0).repeat(2, 1).repeat(2, 2)[::2, ::2, ::2] for m in wide]
    after = scored(*wide, spacing, [factor * value for value in classes], definition)
    expected = {factor * value: found for value, found in scored(*case, definition).items()}
    assert_same(expected, after, 1e-12)


@quick
@given(st.integers(0, 2**32), st.permutations(range(3)))
def test_the_transform_finds_the_nearest_of_all_points(seed, order):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 30, 3)
    spacing = rng.choice(SPACINGS, 3)
    targets = np.unique(rng.integers(0, shape, (rng.integers(1, 60), 3)), axis=0).astype(np.int32)
    wanted = rng.integers(-40, 40, (50, 3)).astype(np.int32)
    found = nearest_distances(targets, wanted, spacing, tuple(order))
    columns = np.argsort(order)
    apart = (wanted[:, None] - targets[None])[..., columns] * spacing
    np.testing.assert_allclose(found, np.linalg.norm(apart, axis=-1).min(axis=1), rtol=1e-14)


def test_a_surface_far_from_everything_is_exact():
    # So much of a plane is out of reach that the sweep stops trying all steps.
    import surface_distance as peer

    a = np.zeros((50, 70, 60), bool)
    b = a.copy()
    a[5:8, 2:68, 2:58] = b[40:44, 2:68, 2:58] = True
    a[8:20, 10:30, 10:30] = b[8:23, 13:33, 12:30] = True
    spacing = 0.8, 0.9, 1.5
    found = mask_distances(a, b, spacing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = peer.compute_surface_distances(a, b, spacing)
    there = theirs["distances_gt_to_pred"] @ theirs["surfel_areas_gt"]
    assert found.reference.sum_mm == pytest.approx(there, rel=1e-12)
    assert found.hd_percentile(95) == pytest.approx(peer.compute_robust_hausdorff(theirs, 95))
    assert found.nsd(7) == pytest.approx(peer.compute_surface_dice_at_tolerance(theirs, 7))


def test_layers_that_overlap_are_scored_like_masks():
    rng = np.random.default_rng(5)
    masks = {n: rng.random((12, 11, 10)) < 0.2 for n in ("cavity", "effusion", "organ")}
    moved = {name: np.roll(mask, 2, axis=1) for name, mask in masks.items()}
    a, b = (pack_masks(side, np.eye(4), "direct") for side in (masks, moved))
    assert len(a.layers) > 1
    pairs = [ClassPair(name, a.classes[name], b.classes[name]) for name in masks]
    found = element_distances(a.layers, b.layers, pairs, (1.0, 1.5, 2.0))
    for name, one in zip(masks, found, strict=True):
        alone = mask_distances(masks[name], moved[name], (1.0, 1.5, 2.0))
        assert one.surface.masd() == pytest.approx(alone.masd(), abs=1e-12)
        assert one.intersection_voxels == (masks[name] & moved[name]).sum()


@pytest.mark.parametrize("definition", NAMES)
def test_a_missed_structure_has_no_distance(definition):
    block = np.zeros((7, 6, 5), bool)
    block[2:4, 2:4, 2:4] = True
    none = np.zeros_like(block)
    names = ["hd", "hd95", "assd", "masd", "nsd@1", "dsc", "relative_volume_error"]
    for pair in ((block, none), (none, block)):
        found = score_masks(*pair, (1, 1, 2), names, definition)
        assert all(math.isnan(found[name]) for name in names[:4])
        assert found["nsd@1"] == found["dsc"] == 0
    assert score_masks(block, none, (1, 1, 2), ["volume_difference"], definition) == {
        "volume_difference": pytest.approx(-0.016)
    }
    assert all(
        math.isnan(value)
        for value in score_masks(none, none, (1, 1, 2), names, definition).values()
    )


def test_pooling_hides_what_the_other_definitions_show():
    grid = np.indices((60, 40, 40))
    a = ((grid - 20) ** 2).sum(axis=0) < 15**2
    b = a.copy()
    b[57:59, 20:22, 20:22] = True
    hd95 = {name: score_masks(a, b, (1, 1, 1), ["hd95"], name)["hd95"] for name in NAMES}
    assert hd95 == dict.fromkeys(NAMES, 0)
    assert {score_masks(a, b, (1, 1, 1), ["hd"], name)["hd"] > 20 for name in NAMES} == {True}
    small = a.copy()
    small[5:35, 5:35, 20:] = False
    far = small.copy()
    far[50:59, 16:25, 16:25] = True
    shown = {name: score_masks(a, far, (1, 1, 1), ["hd95"], name)["hd95"] for name in NAMES}
    assert shown["voxel-pooled"] < shown["voxel-larger"]


def test_one_slice_is_a_contour():
    import surface_distance as peer

    rng = np.random.default_rng(3)
    a = ndimage.binary_opening(rng.random((30, 1, 28)) < 0.7, np.ones((2, 1, 2)))
    b = np.roll(a, 2, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = peer.compute_surface_distances(a[:, 0], b[:, 0], (0.8, 1.5))
    found = score_masks(a, b, (0.8, 3.0, 1.5), ["hd", "nsd@1"])
    assert found["hd"] == pytest.approx(peer.compute_robust_hausdorff(theirs, 100), abs=1e-9)
    assert found["nsd@1"] == pytest.approx(
        peer.compute_surface_dice_at_tolerance(theirs, 1), abs=1e-9
    )


def test_the_number_of_steps_does_not_hang_on_spacing_or_tolerance():
    for spacing in ((1.0, 1.0, 1.0), (0.3, 0.3, 5.0), (0.8, 0.8, 1.5), (5.0, 0.2, 1.0)):
        layer = np.zeros((96, 96, 96), np.uint8)
        steps, lengths = distance_steps(Grid.of(layer, spacing), layer.shape)
        assert len(steps) < 1.6 * elements.MOST_STEPS
        assert (np.diff(lengths) > 0).all()
    a = np.zeros((96, 96, 96), bool)
    a[:10, :10, :10] = True
    b = a[::-1, ::-1, ::-1]
    found = score_masks(a, b, (1, 1, 1), ["nsd@1000", "nsd@5", "hd"])
    assert found["nsd@1000"] == 1
    assert found["nsd@5"] == 0
    assert found["hd"] == pytest.approx(86 * math.sqrt(3))
    # No distance within a scan is longer than the diagonal of its field.
    assert found["hd"] < field_diagonal_mm(a.shape, (1, 1, 1)) == pytest.approx(96 * math.sqrt(3))


def test_names_of_metrics_are_read():
    assert find_metric("hd99.5").title == "HD99.5"
    assert find_metric("boundary_iou").band_voxels == 1
    assert find_metric("boundary_iou@2.5").band_voxels == 2.5
    assert find_at("nsd@0.5")[1] == 0.5
    assert asked_metrics(["nsd", "nsd@2", "hd90"]) == (("nsd", "hd90"), (1, 2))
    assert asked_metrics(["nsd@2", "dsc"]) == (("nsd", "dsc"), (2,))
    assert asked_metrics(["nsd@2", "dsc", "nsd"], [3]) == (("nsd", "dsc"), (3, 2))
    for text, message in (
        ("hd101", "percentile from 0 to 100"),
        ("hd095", "no metric"),
        ("nsd@-1", "tolerance in mm"),
        ("nsd@far", "tolerance in mm"),
        ("boundary_iou@0", "distance in voxels"),
        ("boundary_iou2", "no metric"),
        ("asd", "`assd`"),
        ("dsc@1", "no metric"),
    ):
        with pytest.raises(BenchError, match=message):
            asked_metrics([text])


def test_unusable_arrays_and_names_are_refused():
    a = np.ones((3, 3, 3), bool)
    for arguments, message in (
        ((a, a[:2], (1, 1, 1), ["hd"]), "one shape"),
        ((a, a[0], (1, 1, 1), ["hd"]), "one shape"),
        ((a, a.astype(float), (1, 1, 1), ["hd"]), "boolean arrays"),
        ((a, a, (1, 0, 1), ["hd"]), "spacing"),
        ((a, a, (1, 1), ["hd"]), "spacing"),
        ((a, a, (1, 1, 1), ["hd"], "voxel-largest"), "voxel-largest"),
    ):
        with pytest.raises(BenchError, match=message):
            score_masks(*arguments)
    assert "area" in find_definition("surface-element").points
