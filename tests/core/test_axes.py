from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from evaluation.cases import CaseRecord, write_case
from evaluation.datasets.ceilings import ceilings_of_run, orders_of
from evaluation.datasets.registry import find_card
from evaluation.studies.record import find_study
from evaluation.volumes.axes import (
    AxisOrder,
    along_ras,
    array_turned_back,
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
    assert np.flatnonzero(volume.affine[:3, 0]).tolist() == ["RAS".index(order[0])]
    assert turned_points(np.array([[1, 1, 1], [0, 1, 2]]), order).tolist()[0] == [1, 1, 1]
    assert volume.array[tuple(turned_points(np.array([[0, 1, 2]]), order)[0])] == array[0, 1, 2]
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
    assert by_side["of_card"].to_dict() == {"1 1 3": False, "1 3 1": False, "3 1 1": True}
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
