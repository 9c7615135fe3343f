"""Side swaps are counted as a reader would count them."""

import math

import numpy as np

from evaluation.volumes.segmentation import pack_masks
from sat.diagnosis.sides import SideSwaps, other_side, side_pairs, side_swaps


def _mask(x: int) -> np.ndarray:
    mask = np.zeros((8, 4, 4), dtype=bool)
    mask[x : x + 2] = True
    return mask


def test_pairs_of_names():
    assert other_side("left lung upper lobe") == "right lung upper lobe"
    assert other_side("heart left ventricle") == "heart right ventricle"
    assert other_side("liver") is None
    names = ["right kidney", "left kidney", "liver", "left adrenal gland"]
    assert side_pairs(names) == [("left kidney", "right kidney")]


def test_counts():
    affine = np.eye(4)
    reference = pack_masks({"left kidney": _mask(0), "right kidney": _mask(5)}, affine, "annotated")

    def predicted(left: np.ndarray, right: np.ndarray) -> SideSwaps:
        masks = {"left kidney": left, "right kidney": right}
        return side_swaps(reference, pack_masks(masks, affine, "direct"))

    nothing = np.zeros((8, 4, 4), dtype=bool)
    assert predicted(_mask(0), _mask(5)) == SideSwaps(1, 0, 0)
    assert predicted(_mask(5), _mask(0)) == SideSwaps(1, 1, 0)
    assert predicted(_mask(0), nothing) == SideSwaps(1, 0, 0)
    assert predicted(nothing, nothing) == SideSwaps(0, 0, 1)
    both = predicted(_mask(5), _mask(0)) + predicted(_mask(0), _mask(5))
    assert both.rate == 0.5
    assert math.isnan(SideSwaps(0, 0, 3).rate)
