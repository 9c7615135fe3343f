"""The space `cropped`: the study's grid, cut round the reference as its document does."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.volumes.crop import box_round, cut
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation


def labelled(shape: tuple[int, int, int], *boxes: tuple[slice, slice, slice]) -> Segmentation:
    layers = []
    for box in boxes:
        layer = np.zeros(shape, dtype=np.uint8)
        layer[box] = 1
        layers.append(layer)
    places = {
        f"c{i}": ClassPlace(kind="annotated", parts=(Part(layer=i, values=(1,)),))
        for i in range(len(boxes))
    }
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    return Segmentation(tuple(layers), affine, places)


def test_the_box_holds_all_that_is_labelled_and_the_margin_inside_the_scan() -> None:
    seen = labelled((40, 30, 20), np.s_[10:12, 5:6, 3:4], np.s_[20:25, 25:28, 10:12])
    assert box_round(seen, (4, 3, 2)) == np.s_[6:29, 2:30, 1:14]
    # A side of 15 voxels is to have 30: seven more on each side, rounded down.
    assert box_round(seen, (0, 0, 0), least=30) == np.s_[3:32, 2:30, 0:20]
    assert box_round(labelled((4, 4, 4), np.s_[0:0, :, :]), (1, 1, 1)) is None


def test_what_is_cut_stays_in_its_place() -> None:
    whole = labelled((40, 30, 20), np.s_[10:20, 5:15, 3:9])
    box = box_round(whole, (2, 2, 2))
    assert box is not None
    part = cut(whole, box)
    assert part.shape == (14, 14, 10)
    assert part.mask("c0").sum() == whole.mask("c0").sum()
    corner = whole.affine @ [box[0].start, box[1].start, box[2].start, 1]
    assert part.affine[:3, 3] == pytest.approx(corner[:3])
