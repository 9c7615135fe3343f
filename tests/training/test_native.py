"""The own grid, windows, and the way back to masks and labels of the native grid."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import BenchError
from evaluation.training.grid import (
    GridMap,
    bounding_box,
    crop_and_normalise,
    resample_image,
    resample_labels,
)
from evaluation.training.native import LabelMap, LayerPacker, decision_map, to_native
from evaluation.training.settings import Grid
from evaluation.training.windows import window_starts
from evaluation.volumes.segmentation import pack_masks

GRID = Grid(spacing_mm=(1, 1, 3))


@given(st.integers(1, 90), st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_windows_cover_an_axis_and_stay_inside(size, window, overlap):
    starts = window_starts(size, window, overlap)
    covered = np.zeros(max(size, window), dtype=bool)
    for start in starts:
        assert start + window <= max(size, window)
        covered[start : start + window] = True
    assert covered.all()
    assert starts == sorted(set(starts))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_packing_one_by_one_equals_packing_all(seed, n):
    random = np.random.default_rng(seed)
    masks = {}
    for i in range(n):
        mask = np.zeros((6, 5, 4), dtype=bool)
        low = random.integers(0, 4, 3)
        high = low + random.integers(0, 4, 3)
        mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
        masks[f"c{i}"] = mask
    packer = LayerPacker((6, 5, 4))
    for name, mask in masks.items():
        box = bounding_box(mask)
        packer.add(name, "direct", None if box is None else (box, mask[box]))
    ours, all_at_once = packer.segmentation(np.eye(4)), pack_masks(masks, np.eye(4), "direct")
    assert ours.classes == all_at_once.classes
    assert all(np.array_equal(a, b) for a, b in zip(ours.layers, all_at_once.layers, strict=True))
    assert all(np.array_equal(ours.mask(name), mask) for name, mask in masks.items())


def _whole(values: torch.Tensor, grid: GridMap) -> np.ndarray:
    """Trilinear interpolation of a whole own grid at every native voxel."""
    out = values.numpy().astype(np.float64)
    for axis in range(3):
        index = grid.own_index(axis)
        low = np.minimum(np.floor(index).astype(int), out.shape[axis] - 1)
        high = np.minimum(low + 1, out.shape[axis] - 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        part = (index - low).reshape(shape)
        out = out.take(low, axis) * (1 - part) + out.take(high, axis) * part
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 1.0), (0.7, 1.3, 5.0), (6.0, 6.0, 6.0)]))
def test_native_interpolation_equals_the_whole_volume_at_once(seed, native_mm):
    random = np.random.default_rng(seed)
    grid = GridMap((13, 11, 9), native_mm, (2.0, 2.0, 3.0))
    decision = torch.from_numpy(random.normal(-0.7, 1, grid.own_shape).astype(np.float32))
    out = _whole(decision, grid)
    mask = np.zeros(grid.native_shape, dtype=bool)
    place = to_native(decision, (0, 0, 0), grid)
    if place is not None:
        mask[place[0]] = place[1]
    clear = np.abs(out) > 1e-5
    assert np.array_equal(mask[clear], (out > 0)[clear])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 1.0), (0.7, 1.3, 5.0), (6.0, 6.0, 6.0)]))
def test_native_labels_are_the_largest_of_the_interpolated_maps(seed, native_mm):
    grid = GridMap((13, 11, 9), native_mm, (2.0, 2.0, 3.0))
    maps = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, *grid.own_shape))).float()
    answer = LabelMap((0, 0, 0), grid)
    for label, decision in enumerate(maps):
        answer.add(label, decision)
    whole = np.stack([_whole(decision, grid) for decision in maps])
    first, second = np.sort(whole, axis=0)[:-3:-1]
    clear = first - second > 1e-5
    assert np.array_equal(answer.labels[clear], whole.argmax(0)[clear])


def test_labels_stop_half_a_voxel_outside_of_the_crop():
    grid = GridMap((20, 8, 8), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    answer = LabelMap((4, 0, 0), grid)
    answer.add(0, torch.zeros(3, 4, 4))
    answer.add(1, torch.ones(3, 4, 4))
    # Own voxels 4 to 6 lie at native 8, 10 and 12; half a voxel is one native one.
    assert np.flatnonzero(answer.labels.any(axis=(1, 2))).tolist() == [7, 8, 9, 10, 11, 12, 13]


def test_half_a_probability_is_the_threshold_of_both_ways():
    probability = torch.tensor([0.0, 0.49, 0.51, 1.0])
    for way in ("logit", "probability"):
        decision = decision_map(probability, way)
        assert (decision > 0).tolist() == [False, False, True, True]
        assert decision.isfinite().all()


def _round_trip(shared: Path, soft: bool) -> float:
    """DSC of perfect masks sent to the 1 x 1 x 3 mm grid and back, mean of classes and cases."""
    from evaluation.volumes.image_files import read_volume, to_ras

    folder = shared / "data/MSD_Hippocampus/Task04_Hippocampus/labelsTr"
    paths = sorted(p for p in folder.glob("*.nii.gz") if not p.name.startswith("."))[::10]
    scores = []
    for path in paths:
        volume = to_ras(read_volume(path))
        x, y, z = volume.array.shape
        grid = GridMap((x, y, z), volume.spacing_mm, GRID.spacing_mm)
        for values in ((1,), (2,), (1, 2)):
            truth = np.isin(volume.array, values)
            own = resample_labels(truth, grid).astype(np.float32)
            if soft:
                fill = np.pad(truth.astype(np.float32), ((0, 0), (0, 0), (1, 3)), mode="edge")
                slices = [fill[:, :, k : k + 3].mean(-1) for k in range(0, z + 1, 3)]
                own = np.stack(slices[: own.shape[2]], axis=-1)
            place = to_native(torch.from_numpy(own) - 0.5, (0, 0, 0), grid)
            mask = np.zeros_like(truth)
            if place is not None:
                mask[place[0]] = place[1]
            scores.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert len(paths) == 26
    return float(np.mean(scores)) * 100


def test_round_trip_ceiling_of_the_paper_s_grid(shared):
    """Perfect masks stop at about 88.7 on the 3 mm grid, slice averages at about 98.5."""
    assert _round_trip(shared, soft=False) == pytest.approx(88.7, abs=0.6)
    assert _round_trip(shared, soft=True) == pytest.approx(98.5, abs=0.5)


def test_image_on_the_own_grid():
    grid = GridMap((5, 5, 7), (1.0, 1.0, 1.0), (1.0, 2.0, 3.0))
    assert grid.own_shape == (5, 3, 3)
    ramp = np.arange(7, dtype=np.float32)[None, None].repeat(5, 0).repeat(5, 1)
    assert resample_image(ramp, grid)[0, 0].tolist() == [0, 3, 6]
    np.testing.assert_allclose(np.diag(grid.own_affine(np.eye(4))), [1, 2, 3, 1])


def test_bad_images_get_a_clear_error():
    image = np.ones((8, 8, 8), dtype=np.float32)
    with pytest.raises(BenchError, match="no voxel above 0"):
        crop_and_normalise(-image, "ct", GRID)
    with pytest.raises(BenchError, match="constant"):
        crop_and_normalise(image, "mri", GRID)
    image[0, 0, 0] = np.nan
    with pytest.raises(BenchError, match="not numbers"):
        crop_and_normalise(image, "mri", GRID)


def test_ct_is_cropped_clipped_and_standardised():
    random = np.random.default_rng(0)
    image = np.full((10, 10, 10), -1000, dtype=np.float32)
    image[2:8, 3:9, 1:5] = random.uniform(-900, 3000, (6, 6, 4))
    image[2, 3, 1] = image[7, 8, 4] = 10
    crop, box = crop_and_normalise(image, "ct", GRID)
    assert box == (slice(2, 8), slice(3, 9), slice(1, 5))
    assert float(crop.mean()) == pytest.approx(0, abs=1e-5)
    assert float(crop.std()) == pytest.approx(1, abs=1e-5)
