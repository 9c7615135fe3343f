"""Prediction: windows, blending, the way to the native grid, packing, the adapter's pieces."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.cases import ImageCase
from evaluation.errors import BenchError
from evaluation.models.protocol import ModelContext
from evaluation.paths import RunPaths
from evaluation.training.checkpoints import save_content
from evaluation.training.features import WindowFeatures
from evaluation.training.grid import (
    padded_shape,
)
from evaluation.training.predict import axes_for, blended_probabilities, own_image
from evaluation.training.prepared_case import prepare_case
from evaluation.training.settings import Grid, ThickSlices
from evaluation.training.windows import total_weights, window_corners, window_weights
from evaluation.volumes.axes import along_ras, turned, turned_masks
from evaluation.volumes.image_files import Volume
from sat.adapter import SatNano
from sat.model import load_model
from sat.predict import segment

WINDOW = (16, 16, 8)


@pytest.mark.parametrize("blending", ["uniform", "gaussian"])
def test_blending_equals_the_naive_computation(toy_model, blending):
    inference = toy_model.preset.inference.model_copy(update={"blending": blending})
    toy_model.preset = toy_model.preset.model_copy(update={"inference": inference})
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
        maps = dict(blended_probabilities(toy_model, crop, queries, WINDOW, chunk))
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


def test_an_axis_order_is_a_turned_scan(toy_model, toy, tmp_path):
    """Training and prediction see the turned scan, answers lie on the scan as it was."""
    image, reference = toy.scan(0)
    (name, *_), preset = reference.classes, toy_model.preset
    rows = toy_model.book.embeddings[:1]
    answer = segment(toy_model, image, "mri", [name], rows, axes="ASR")
    there = segment(toy_model, turned(image, "ASR"), "mri", [name], rows)
    for ours, theirs in (
        (answer.segmentation, there.segmentation),
        (answer.own_grid, there.own_grid),
    ):
        np.testing.assert_array_equal(ours.mask(name).transpose(1, 2, 0), theirs.mask(name))
        np.testing.assert_allclose(ours.affine[:, [1, 2, 0, 3]], theirs.affine)
    assert answer.segmentation.shape == image.array.shape
    np.testing.assert_array_equal(answer.segmentation.affine, image.affine)
    plain = prepare_case(tmp_path / "a", "toy", "a", "mri", turned(image, "ASR"),
                         turned_masks(reference, "ASR"), preset.grid)  # fmt: skip
    order = prepare_case(
        tmp_path / "b", "toy", "a", "mri", image, reference, preset.grid, axes="ASR"
    )
    assert order == plain
    for name in ("image.npy", "layers.npy", "points.npy"):
        np.testing.assert_array_equal(
            np.load(tmp_path / "a" / name), np.load(tmp_path / "b" / name)
        )


def test_scans_with_thick_slices_have_a_grid_of_their_own(toy_model, toy, tmp_path):
    """The axis across the slices decides, for the store and for a prediction alike."""
    image, reference = toy.scan(0)  # sides of 1 x 1 x 2 mm, the third along S
    (name, *_), rows = reference.classes, toy_model.book.embeddings[:1]
    thick = ThickSlices(above_mm=1.5, spacing_mm=(3, 2, 4))
    grid = toy_model.preset.grid.model_copy(update={"thick_slices": thick})
    model = copy.copy(toy_model)
    model.preset = toy_model.preset.model_copy(update={"grid": grid})
    for order, sides in (("RAS", (3, 2, 4)), ("ASR", toy_model.preset.grid.spacing_mm)):
        own = own_image(turned(image, order), "mri", grid)
        assert own.grid.own_mm == sides
        folder = tmp_path / order
        record = prepare_case(folder, "toy", "a", "mri", image, reference, grid, axes=order)
        assert record.shape == tuple(own.crop.shape)
        np.testing.assert_array_equal(
            np.load(folder / "image.npy"), own.crop.numpy().astype(np.float16)
        )
        answer = segment(model, image, "mri", [name], rows, axes=order)
        assert answer.segmentation.shape == image.array.shape
        assert answer.own_grid.affine[:3, :3].sum(axis=0) == pytest.approx(along_ras(sides, order))


@pytest.mark.parametrize(
    ("spacing_mm", "order"),
    [
        ((1.4, 1.4, 8), "RAS"), ((1.4, 8, 1.4), "RSP"), ((8, 1.4, 1.4), "ASR"),
        ((1, 5.00001, 1), "RAS"), ((1, 5.01, 1), "RSP"), ((1, 4, 1), "RAS"),
    ],
)  # fmt: skip
def test_thick_slices_lie_last_in_a_scan_of_no_entry(spacing_mm, order):
    thick = Grid(spacing_mm=(1, 1, 3), thick_slices=ThickSlices(above_mm=5, spacing_mm=(3, 3, 8)))
    assert thick.order_for(spacing_mm) == order
    assert Grid(spacing_mm=(1, 1, 3)).order_for(spacing_mm) == "RAS"
    # An entry that was not trained on; one that was is shown as its card says.
    case = ImageCase("acdc", "a", "a", "mri", Path(), spacing_mm, (4, 4, 4), grid_axes="ASR")
    assert axes_for(case, True, thick) == "ASR"
    assert axes_for(case, False, thick) == (order if max(spacing_mm) > 5.005 else "ASR")
    assert axes_for(case, False, Grid(spacing_mm=(1, 1, 3))) == "ASR"
    own = turned(Volume(np.zeros((4, 4, 4), np.float32), np.diag([*spacing_mm, 1.0])), order)
    coarse = max(spacing_mm) > 5.005
    assert thick.sides_for(own.spacing_mm[2]) == ((3, 3, 8) if coarse else (1, 1, 3))


def test_a_grid_without_thick_slices_is_the_grid_that_it_was():
    """Its digest names prepared stores and is in checkpoints of versions before the key."""
    assert "thick_slices" not in Grid(spacing_mm=(1, 1, 3)).model_dump()
    with pytest.raises(ValueError, match="smaller voxels"):
        Grid(spacing_mm=(1, 1, 3), thick_slices=ThickSlices(above_mm=5, spacing_mm=(0.7, 0.7, 6)))


def test_features_beyond_the_memory_go_to_a_scratch_file(toy_model):
    volume = torch.randn(24, 21, 9)
    answers = []
    for memory in (1024, 0):
        changes = {"memory_mib": memory, "window_batch": 3}
        inference = toy_model.preset.inference.model_copy(update=changes)
        with WindowFeatures(
            toy_model.network.encode, volume, WINDOW, inference, toy_model.device
        ) as features:
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
                # A voxel on the threshold may turn with the last bit.
                apart = [(p != q).mean() for p, q in zip(x.layers, y.layers, strict=True)]
                assert max(apart) < 1e-3
    assert answers[0].segmentation.shape == image.array.shape
    assert answers[0].own_grid.shape == (21, 19, 10)
    np.testing.assert_allclose(np.diag(answers[0].own_grid.affine), [2, 2, 3, 1])


def test_no_prompt_gives_an_empty_answer(toy_model, toy):
    image, _ = toy.scan(0)
    answer = segment(toy_model, image, "mri", [], torch.zeros(0, 12))
    assert dict(answer.segmentation.classes) == {}
    assert not answer.segmentation.layers[0].any()


def test_a_scan_smaller_than_the_stride_is_filled_up(toy_model):
    assert padded_shape((3, 4, 2), (16, 16, 8), (4, 4, 4), whole_patch=False) == (8, 4, 4)
    assert padded_shape((3, 4, 2), (4, 16, 8), (4, 4, 4), whole_patch=False) == (4, 8, 4)
    assert padded_shape((3, 5, 2), (16, 16, 8), (4, 4, 4), whole_patch=False) == (4, 8, 4)
    random = np.random.default_rng(0)
    # One slice of 5 x 6 voxels is 3 x 4 x 1 on the model's own grid, less than its stride.
    image = Volume(random.normal(50, 9, (5, 6, 1)).astype(np.float32), np.eye(4))
    answer = segment(toy_model, image, "mri", ["a"], toy_model.book.embeddings[:1])
    assert answer.segmentation.shape == (5, 6, 1)


def test_a_checkpoint_keeps_the_model(toy_model, tmp_path, toy):
    path = tmp_path / "checkpoint.pt"
    save_content(path, toy_model.content())
    again = load_model(path)
    assert again.book.keys == toy_model.book.keys
    assert again.preset == toy_model.preset
    image, _ = toy.scan(0)
    names = [name for _, name in again.book.keys]
    a = segment(toy_model, image, "mri", names, toy_model.book.embeddings)
    b = segment(again, Volume(image.array, image.affine), "mri", names, again.book.embeddings)
    assert np.array_equal(a.segmentation.layers[0], b.segmentation.layers[0])


def test_a_checkpoint_of_wrong_sizes_is_refused(toy_model, tmp_path):
    content = toy_model.content()
    content["network"] = {k: v[:1] for k, v in content["network"].items()}
    save_content(tmp_path / "bad.pt", content)
    with pytest.raises(BenchError, match="does not fit together"):
        load_model(tmp_path / "bad.pt")
    save_content(tmp_path / "other.pt", {"state_dict": {}})
    with pytest.raises(BenchError, match="not a SAT-Nano checkpoint"):
        load_model(tmp_path / "other.pt")


def test_a_checkpoint_of_half_precision_is_read_in_full(toy_model, tmp_path):
    content = toy_model.content()
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
    save_content(path, {**toy_model.content(), part: value})
    with pytest.raises(BenchError, match=found) as caught:
        load_model(path)
    assert "does not fit together" in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_benchmark_refuses_weights_that_are_not_numbers(toy_model, tmp_path):
    path = tmp_path / "checkpoint.pt"
    toy_model.projection.deviation[3] = torch.inf
    save_content(path, toy_model.content())
    model = SatNano(
        ModelContext("m", RunPaths(tmp_path), None, tmp_path, None, {"checkpoint": path})
    )
    with pytest.raises(BenchError, match="weights that are not numbers") as caught:
        model.classes("acdc")
    assert "projection.deviation" in str(caught.value)
