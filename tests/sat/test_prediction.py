"""Prediction: windows, blending, the way to the native grid, packing, the adapter's pieces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import BenchError
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import pack_masks
from sat.adapter import SatNano
from sat.config import load_preset
from sat.grid import (
    GridMap,
    bounding_box,
    crop_and_normalise,
    padded_shape,
    resample_image,
    resample_labels,
)
from sat.inference.features import WindowFeatures
from sat.inference.native import LayerPacker, decision_map, to_native
from sat.inference.predict import blended_probabilities, segment
from sat.inference.windows import total_weights, window_corners, window_starts, window_weights
from sat.model import load_model, model_content, save_content

WINDOW = (16, 16, 8)


@given(st.integers(1, 90), st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_windows_cover_an_axis_and_stay_inside(size, window, overlap):
    starts = window_starts(size, window, overlap)
    covered = np.zeros(max(size, window), dtype=bool)
    for start in starts:
        assert start + window <= max(size, window)
        covered[start : start + window] = True
    assert covered.all()
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("blending", ["uniform", "gaussian"])
def test_blending_equals_the_naive_computation(toy_model, blending):
    inference = toy_model.preset.inference.model_copy(update={"blending": blending})
    crop = torch.randn(24, 21, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        queries = toy_model.queries(toy_model.book.embeddings)
        volume = torch.nn.functional.pad(crop, (0, 0, 0, 0, 0, 0))
        corners = window_corners((24, 21, 9), WINDOW, inference.overlap)
        weights = window_weights(WINDOW, blending)
        naive, total = torch.zeros(7, 24, 21, 9), torch.zeros(24, 21, 9)
        for a, b, c in corners:
            window = volume[a : a + 16, b : b + 16, c : c + 8]
            answer = toy_model.network(window[None, None], queries[None])[0].sigmoid()
            naive[:, a : a + 16, b : b + 16, c : c + 8] += answer * weights
            total[a : a + 16, b : b + 16, c : c + 8] += weights
        naive /= total
    assert torch.equal(total, total_weights((24, 21, 9), corners, weights))
    for chunk in (1, 3, None):
        maps = dict(
            blended_probabilities(toy_model.network, crop, queries, inference, WINDOW, chunk)
        )
        assert sorted(maps) == list(range(7))
        assert torch.allclose(torch.stack([maps[i] for i in range(7)]), naive, atol=1e-5)


def test_each_window_is_encoded_once_whatever_the_number_of_prompts(toy_model, monkeypatch, toy):
    seen = []
    encode = toy_model.network.encode
    monkeypatch.setattr(
        toy_model.network, "encode", lambda image: (seen.append(len(image)), encode(image))[1]
    )
    image, _ = toy.scan(0)
    names = [name for _, name in toy_model.book.keys]
    segment(toy_model, image, "mri", names, toy_model.book.embeddings, chunk=1)
    one_by_one = sum(seen)
    seen.clear()
    segment(toy_model, image, "mri", names[:1], toy_model.book.embeddings[:1])
    assert one_by_one == sum(seen) == len(window_corners((21, 19, 10), WINDOW, 0.5))


def test_features_beyond_the_memory_go_to_a_scratch_file(toy_model):
    volume = torch.randn(24, 21, 9)
    answers = []
    for memory in (1 << 30, 0):
        with WindowFeatures(toy_model.network, volume, WINDOW, 0.5, 3, memory) as features:
            assert features.in_scratch_file is (memory == 0)
            answers.append([f.pixels.clone() for _, f in features])
            folder = features._folder
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))
    assert folder is not None
    assert not Path(folder.name).exists()


def test_the_answer_does_not_depend_on_the_chunk(toy_model, toy):
    image, _ = toy.scan(0)
    names = [name for _, name in toy_model.book.keys]
    answers = [
        segment(toy_model, image, "mri", names, toy_model.book.embeddings, chunk=chunk)
        for chunk in (1, 4, None)
    ]
    for other in answers[1:]:
        for a, b in ((answers[0], other),):
            for x, y in ((a.segmentation, b.segmentation), (a.own_grid, b.own_grid)):
                assert x.classes == y.classes
                assert all(np.array_equal(p, q) for p, q in zip(x.layers, y.layers, strict=True))
    assert answers[0].segmentation.shape == image.array.shape
    assert answers[0].own_grid.shape == (21, 19, 10)
    np.testing.assert_allclose(np.diag(answers[0].own_grid.affine), [2, 2, 3, 1])


def test_no_prompt_gives_an_empty_answer(toy_model, toy):
    image, _ = toy.scan(0)
    answer = segment(toy_model, image, "mri", [], torch.zeros(0, 12))
    assert dict(answer.segmentation.classes) == {}
    assert not answer.segmentation.layers[0].any()


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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 1.0), (0.7, 1.3, 5.0), (6.0, 6.0, 6.0)]))
def test_native_interpolation_equals_the_whole_volume_at_once(seed, native_mm):
    random = np.random.default_rng(seed)
    grid = GridMap((13, 11, 9), native_mm, (2.0, 2.0, 3.0))
    decision = torch.from_numpy(random.normal(-0.7, 1, grid.own_shape).astype(np.float32))
    out = decision.numpy().astype(np.float64)
    for axis in range(3):
        index = grid.own_index(axis)
        low = np.minimum(np.floor(index).astype(int), out.shape[axis] - 1)
        high = np.minimum(low + 1, out.shape[axis] - 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        part = (index - low).reshape(shape)
        out = out.take(low, axis) * (1 - part) + out.take(high, axis) * part
    mask = np.zeros(grid.native_shape, dtype=bool)
    place = to_native(decision, (0, 0, 0), grid)
    if place is not None:
        mask[place[0]] = place[1]
    clear = np.abs(out) > 1e-5
    assert np.array_equal(mask[clear], (out > 0)[clear])


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
        grid = GridMap((x, y, z), volume.spacing_mm, load_preset("small").grid.spacing_mm)
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
    settings_ = load_preset("small").grid
    image = np.ones((8, 8, 8), dtype=np.float32)
    with pytest.raises(BenchError, match="no voxel above 0"):
        crop_and_normalise(-image, "ct", settings_)
    with pytest.raises(BenchError, match="constant"):
        crop_and_normalise(image, "mri", settings_)
    image[0, 0, 0] = np.nan
    with pytest.raises(BenchError, match="not numbers"):
        crop_and_normalise(image, "mri", settings_)


def test_a_scan_smaller_than_the_stride_is_filled_up(toy_model):
    assert padded_shape((3, 4, 2), (16, 16, 8), (4, 4, 4), whole_patch=False) == (8, 4, 4)
    assert padded_shape((3, 4, 2), (4, 16, 8), (4, 4, 4), whole_patch=False) == (4, 8, 4)
    assert padded_shape((3, 5, 2), (16, 16, 8), (4, 4, 4), whole_patch=False) == (4, 8, 4)
    random = np.random.default_rng(0)
    # One slice of 5 x 6 voxels is 3 x 4 x 1 on the model's own grid, less than its stride.
    image = Volume(random.normal(50, 9, (5, 6, 1)).astype(np.float32), np.eye(4))
    answer = segment(toy_model, image, "mri", ["a"], toy_model.book.embeddings[:1])
    assert answer.segmentation.shape == (5, 6, 1)


def test_ct_is_cropped_clipped_and_standardised():
    random = np.random.default_rng(0)
    image = np.full((10, 10, 10), -1000, dtype=np.float32)
    image[2:8, 3:9, 1:5] = random.uniform(-900, 3000, (6, 6, 4))
    image[2, 3, 1] = image[7, 8, 4] = 10
    crop, box = crop_and_normalise(image, "ct", load_preset("small").grid)
    assert box == (slice(2, 8), slice(3, 9), slice(1, 5))
    assert float(crop.mean()) == pytest.approx(0, abs=1e-5)
    assert float(crop.std()) == pytest.approx(1, abs=1e-5)


def test_a_checkpoint_keeps_the_model(toy_model, tmp_path, toy):
    path = tmp_path / "checkpoint.pt"
    save_content(path, model_content(toy_model))
    again = load_model(path)
    assert again.book.keys == toy_model.book.keys
    assert again.preset == toy_model.preset
    image, _ = toy.scan(0)
    names = [name for _, name in again.book.keys]
    a = segment(toy_model, image, "mri", names, toy_model.book.embeddings)
    b = segment(again, Volume(image.array, image.affine), "mri", names, again.book.embeddings)
    assert np.array_equal(a.segmentation.layers[0], b.segmentation.layers[0])


def test_a_checkpoint_of_wrong_sizes_is_refused(toy_model, tmp_path):
    content = model_content(toy_model)
    content["network"] = {k: v[:1] for k, v in content["network"].items()}
    save_content(tmp_path / "bad.pt", content)
    with pytest.raises(BenchError, match="does not fit together"):
        load_model(tmp_path / "bad.pt")
    save_content(tmp_path / "other.pt", {"state_dict": {}})
    with pytest.raises(BenchError, match="not a SAT-Nano checkpoint"):
        load_model(tmp_path / "other.pt")


def test_a_checkpoint_of_half_precision_is_read_in_full(toy_model, tmp_path):
    content = model_content(toy_model)
    content["embeddings"] = content["embeddings"].half()
    save_content(tmp_path / "half.pt", content)
    model = load_model(tmp_path / "half.pt")
    assert model.book.embeddings.dtype == torch.float32
    assert model.queries(model.book.embeddings).isfinite().all()


@pytest.mark.parametrize(
    ("part", "value", "found"),
    [
        ("prompts", [[1, 2]] * 7, r"\[1, 2\] is no pair of a modality and a name"),
        ("prompts", [["us", "liver"]] * 7, r"\['us', 'liver'\] is no pair"),
        ("prompts", [["ct", "liver", "left"]] * 7, "is no pair"),
        ("prompts", ["ct"] * 7, "'ct' is no pair"),
        ("prompts", [["ct", "liver"]], r"embeddings \(7, 12\) for 1 prompts"),
        ("prompts", None, "TypeError"),
        ("embeddings", torch.zeros(7), r"embeddings \(7,\) for 7 prompts"),
        ("embeddings", torch.zeros(7, 0), r"embeddings \(7, 0\) for 7 prompts"),
        ("embeddings", torch.zeros(7, 5), "size mismatch"),
        ("embeddings", torch.full((7, 12), torch.nan), "embeddings hold values that are not"),
        ("embeddings", torch.zeros(7, 12, dtype=torch.int64), "embeddings holds no floating-point"),
        ("embeddings", [[0.0]] * 7, "embeddings is no tensor: list"),
        ("network", {"a": 1}, "a is no tensor: int"),
        ("projection", {"a": torch.zeros(3).to_sparse()}, "a holds no floating-point"),
        ("trained", None, "AttributeError"),
    ],
)
def test_a_checkpoint_of_wrong_values_is_refused(toy_model, tmp_path, part, value, found):
    path = tmp_path / "bad.pt"
    save_content(path, {**model_content(toy_model), part: value})
    with pytest.raises(BenchError, match=found) as caught:
        load_model(path)
    assert "does not fit together" in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_benchmark_refuses_weights_that_are_not_numbers(toy_model, tmp_path):
    path = tmp_path / "checkpoint.pt"
    toy_model.projection.deviation[3] = torch.inf
    save_content(path, model_content(toy_model))
    model = SatNano(
        ModelContext("m", RunPaths(tmp_path), None, tmp_path, None, {"checkpoint": path})
    )
    with pytest.raises(BenchError, match="weights that are not numbers") as caught:
        model.classes("acdc")
    assert "projection.deviation" in str(caught.value)
