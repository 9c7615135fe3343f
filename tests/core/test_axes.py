from __future__ import annotations

from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import aff2axcodes

from evaluation.cases import CaseRecord, write_case
from evaluation.datasets.ceilings import ceilings_of_run, orders_of
from evaluation.datasets.registry import find_card
from evaluation.studies.record import find_study
from evaluation.volumes.axes import (
    AxisOrder,
    along_ras,
    array_turned_back,
    order_of,
    turned,
    turned_back,
    turned_points,
)
from evaluation.volumes.image_files import Volume
from evaluation.volumes.segmentation import pack_masks

ORDERS = get_args(AxisOrder)


@pytest.mark.parametrize("order", ORDERS)
def test_turning_moves_no_voxel(order: AxisOrder) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    volume = turned(Volume(array, affine, "said"), order)
    assert volume.remark == "said"
    place = np.array([1, 1, 1, 1])
    there = np.argwhere(volume.array == array[1, 1, 1])[0]
    np.testing.assert_allclose(volume.affine @ [*there, 1], affine @ place)
    # Along x of the turned grid lies the direction of the first letter.
    assert "".join(aff2axcodes(volume.affine)) == order
    points = turned_points(np.array([[1, 1, 1], [0, 1, 2]]), order, array.shape)
    assert [volume.array[tuple(p)] for p in points] == [array[1, 1, 1], array[0, 1, 2]]
    np.testing.assert_array_equal(array_turned_back(volume.array, order), array)
    masks = pack_masks({"a": volume.array > 9}, volume.affine, "direct")
    back = turned_back(masks, order)
    np.testing.assert_array_equal(back.mask("a"), array > 9)
    np.testing.assert_array_equal(back.affine, affine)


def test_the_spine_has_its_long_side_across_sagittal_slices() -> None:
    card = find_card("mrspineseg")
    assert find_study("sat").protocol.grid_mm(card.grid_axes) == (3, 1, 1)
    assert along_ras((1, 2, 3), "RAS") == (1, 2, 3)
    assert set(orders_of((1, 1, 3))) == {(1, 1, 3), (1, 3, 1), (3, 1, 1)}
    assert list(orders_of((1.5, 1.5, 1.5))) == [(1.5, 1.5, 1.5)]


@pytest.mark.parametrize(
    ("spacing_mm", "order"),
    [
        ((1.37, 10.0, 1.37), "RSP"),
        ((8.0, 1.29, 1.29), "ASR"),
        ((1.4, 1.4, 8.0), "RAS"),
        ((1.000001, 1.0, 0.999999), "RAS"),
    ],
)
def test_slices_last_puts_the_long_side_across_the_slices(spacing_mm, order) -> None:
    found = order_of("slices-last", spacing_mm)
    assert found == order
    sides = along_ras((1, 1, 3), found)
    assert sides.index(3) == spacing_mm.index(max(spacing_mm)) or max(spacing_mm) < 1.01
    assert order_of("ASR", spacing_mm) == "ASR"


# Columns of the affines of two hearts of Sunnybrook (rows, columns, slices), whose slices lie
# nearest to A and to R.
HEARTS = (
    ((-0.71, -0.70, -0.03), (0.31, -0.27, -0.91), (0.63, -0.66, 0.41)),
    ((-0.69, -0.67, 0.26), (-0.02, -0.34, -0.94), (0.72, -0.66, 0.22)),
)


@pytest.mark.parametrize("swapped", [False, True])
def test_hearts_tilted_by_a_few_degrees_are_no_mirror_images(swapped: bool) -> None:
    array = np.random.default_rng(0).random((5, 6, 4))
    seen = []
    for number, columns in enumerate(HEARTS):
        affine = np.eye(4)
        affine[:3, :3] = np.array(columns).T * (1.4, 1.4, 8)
        stored = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
        if swapped and number:
            raw = array.transpose(1, 0, 2), affine[:, [1, 0, 2, 3]]
            stored = nib.as_closest_canonical(nib.Nifti1Image(*raw))
        volume = Volume(stored.get_fdata(), stored.affine)
        seen.append(turned(volume, order_of("slices-last", volume.spacing_mm)).array)
    np.testing.assert_array_equal(*seen)


def test_scans_with_slices_in_other_directions_have_each_its_own_ceiling(tmp_path: Path) -> None:
    """Two short axes, one sliced along A and one along R: no single order keeps both."""
    masks = {}
    for case, spacing in (("along-a", (1.0, 4.0, 1.0)), ("along-r", (4.0, 1.0, 1.0))):
        x, y, z = (np.arange(round(48 / s)) * s - 23 for s in spacing)
        ball = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 < 18**2
        affine = np.diag([*spacing, 1.0])
        masks[case] = pack_masks({"left ventricle cavity": ball}, affine, "annotated")
        record = CaseRecord(
            dataset="sunnybrook", case=case, patient=case, modality="mri", shape=ball.shape,
            spacing_mm=spacing, source_orientation="RAS", n_layers=1,
            classes=dict(masks[case].classes), grid_axes=order_of("slices-last", spacing),
        )  # fmt: skip
        folder = tmp_path / "run/cases/sunnybrook" / case
        write_case(folder, Volume(ball.astype(np.float32), affine), masks[case], record)
    table, warnings = ceilings_of_run(tmp_path / "run", (1.0, 1.0, 4.0), most=5)
    by_order = table.set_index("order")
    assert by_order["of_card"].to_dict() == {
        "RAS": False, "RSA": False, "ASR": False, "slices-last": True,
    }  # fmt: skip
    assert by_order.loc["slices-last", "linear"] == 1
    assert by_order["linear"].drop("slices-last").max() < 0.98
    assert not warnings


@pytest.fixture
def sagittal_run(tmp_path: Path) -> Path:
    """A disc that is thin upwards, in a scan of 3 mm sagittal slices."""
    x, y, z = np.indices((9, 40, 24))
    disc = ((x - 4) / 3.2) ** 2 + ((y - 20) / 16.3) ** 2 <= 1
    disc &= (z > 8) & (z < 12)
    affine = np.diag([3.0, 1.0, 1.0, 1.0])
    image = Volume(np.arange(disc.size, dtype=np.float32).reshape(disc.shape), affine)
    name = "intervertebral discs"
    masks = pack_masks({name: disc}, affine, "annotated")
    record = CaseRecord(
        dataset="mrspineseg", case="Case1", patient="1", modality="mri", shape=disc.shape,
        spacing_mm=(3.0, 1.0, 1.0), source_orientation="RAS", n_layers=1,
        classes=dict(masks.classes), grid_axes="ASR",
    )  # fmt: skip
    write_case(tmp_path / "run/cases/mrspineseg/Case1", image, masks, record)
    return tmp_path / "run"


def test_ceilings_say_which_order_keeps_thin_structures(sagittal_run: Path) -> None:
    table, warnings = ceilings_of_run(sagittal_run, (1.0, 1.0, 3.0), most=5)
    by_side = table.set_index("sides_mm")
    assert by_side["of_card"].to_dict() == {
        "1 1 3": False, "1 3 1": False, "3 1 1": True, "by scan": False,
    }  # fmt: skip
    assert by_side.loc["3 1 1", "linear"] > 0.95 > by_side.loc["1 1 3", "linear"]
    assert not warnings
    assert (table["masks"] == 1).all()


def test_an_order_that_costs_much_is_warned_of(
    sagittal_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = find_card("mrspineseg").model_copy(update={"grid_axes": "RAS"})
    monkeypatch.setattr("evaluation.datasets.ceilings.find_card", lambda _: card)
    (warning,) = ceilings_of_run(sagittal_run, (1.0, 1.0, 3.0), most=5)[1]
    assert "`grid_axes: ASR`" in warning
