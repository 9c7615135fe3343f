"""Cases as layers: overlapping masks stay exact, unions are look-ups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.cases import (
    CaseRecord,
    ImageCase,
    Prediction,
    read_case_record,
    read_image_case,
    read_prediction,
    read_reference,
    write_case,
    write_prediction,
)
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Volume
from evaluation.volumes.resample import grid_of_spacing, resample_nearest
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks, union_place

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
masks = st.lists(hnp.arrays(bool, (4, 3, 2)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_packing_loses_nothing_however_masks_overlap(arrays):
    named = {f"class {i}": a for i, a in enumerate(arrays)}
    packed = pack_masks(named, AFFINE, "annotated")
    for name, mask in named.items():
        np.testing.assert_array_equal(packed.mask(name), mask)


def test_disjoint_masks_share_one_layer():
    labels = np.arange(24).reshape(4, 3, 2)
    packed = pack_masks({str(i): labels == i for i in range(24)}, AFFINE, "annotated")
    assert len(packed.layers) == 1


def test_union_is_a_look_up_over_layers():
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    a[0], b[:, 0] = True, True
    packed = pack_masks({"a": a, "b": b}, AFFINE, "annotated")
    assert len(packed.layers) == 2
    union = union_place(packed.classes.values(), "generated")
    both = Segmentation(packed.layers, AFFINE, {"a or b": union})
    np.testing.assert_array_equal(both.mask("a or b"), a | b)


def test_unknown_class_is_answered_with_the_closest_name():
    packed = pack_masks({"left kidney": np.ones((1, 1, 1), bool)}, AFFINE, "annotated")
    with pytest.raises(BenchError, match="did you mean `left kidney`"):
        packed.mask("left kidny")


def record(shape) -> CaseRecord:
    return CaseRecord(
        dataset="toy",
        case="case_1",
        patient="p1",
        modality="ct",
        shape=shape,
        spacing_mm=(1.0, 1.0, 1.0),
        source_orientation="LPS",
        n_layers=1,
        classes={"liver": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1,)),))},
    )


def test_case_and_prediction_round_trip(tmp_path):
    image = Volume(np.arange(24, dtype=np.int16).reshape(4, 3, 2), AFFINE)
    reference = pack_masks({"liver": image.array > 12}, AFFINE, "annotated")
    written = write_case(tmp_path / "case", image, reference, record((4, 3, 2)))
    found, segmentation = read_reference(tmp_path / "case")
    assert found == written
    assert found.model_copy(update={"image": "", "labels": ""}) == record((4, 3, 2))
    np.testing.assert_array_equal(segmentation.mask("liver"), image.array > 12)
    case = read_image_case(tmp_path / "case")
    assert isinstance(case, ImageCase)
    np.testing.assert_array_equal(case.image().array, image.array)
    answer = Prediction(pack_masks({"liver": image.array > 14}, AFFINE, "direct"))
    write_prediction(tmp_path / "answer", "toy-model", case, answer)
    prediction, layers = read_prediction(tmp_path / "answer")
    assert prediction.model == "toy-model"
    np.testing.assert_array_equal(layers.mask("liver"), image.array > 14)


def test_own_grid_may_be_packed_in_another_way(tmp_path):
    image = Volume(np.zeros((4, 4, 4), np.int16), AFFINE)
    a, b = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    a[0], b[1] = True, True
    native = pack_masks({"a": a, "b": b}, AFFINE, "direct")
    coarse = pack_masks({"a": a[::2], "b": (a | b)[::2]}, np.diag([2.0, 1, 1, 1]), "direct")
    assert len(native.layers) != len(coarse.layers)
    case = ImageCase("toy", "case_1", "p1", "ct", tmp_path, (1.0, 1.0, 1.0), (4, 4, 4))
    write_prediction(tmp_path / "answer", "toy-model", case, Prediction(native, own_grid=coarse))
    assert image.array.shape == read_prediction(tmp_path / "answer")[1].shape
    own = read_prediction(tmp_path / "answer", own_grid=True)[1]
    np.testing.assert_array_equal(own.mask("b"), (a | b)[::2])


def test_damaged_records_are_named(tmp_path):
    with pytest.raises(BenchError, match=r"case\.json is missing"):
        read_case_record(tmp_path)
    (tmp_path / "case.json").write_text('{"dataset": "toy"}')
    with pytest.raises(BenchError, match="not a valid record"):
        read_case_record(tmp_path)


def test_resampling_takes_every_third_slice_from_the_first():
    layer = np.broadcast_to(np.arange(8, dtype=np.uint8), (5, 4, 8)).copy()
    segmentation = Segmentation((layer,), AFFINE, {})
    shape, affine = grid_of_spacing(segmentation.shape, AFFINE, (1.0, 1.0, 3.0))
    assert shape == (5, 4, 3)
    resampled = resample_nearest(segmentation, shape, affine)
    assert resampled.layers[0][0, 0].tolist() == [0, 3, 6]


def test_resampling_onto_a_shifted_grid_fills_with_background():
    layer = np.ones((3, 3, 3), np.uint8)
    shifted = AFFINE.copy()
    shifted[0, 3] = 2.0
    resampled = resample_nearest(Segmentation((layer,), AFFINE, {}), (3, 3, 3), shifted)
    assert resampled.layers[0][:, 0, 0].tolist() == [1, 0, 0]


def test_rotated_grids_are_refused():
    turned = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(BenchError, match="rotated"):
        resample_nearest(
            Segmentation((np.ones((2, 2, 2), np.uint8),), AFFINE, {}), (2, 2, 2), turned
        )
