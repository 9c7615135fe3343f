"""Boundary IoU: the overlap of the bands along two borders (Cheng et al. 2021).

`boundary_iou` takes the border voxels alone; `boundary_iou@2` bands of all voxels that are nearer
than 2 voxels to one of them, as Metrics Reloaded computes it.
"""

from __future__ import annotations

import math
import re

from evaluation.errors import BenchError
from evaluation.metrics.metric import Metric


def of_width(name: str, voxels: float) -> Metric:
    """The metric for bands of this width in voxels, whatever the spacing."""
    return Metric(
        id=name,
        title="boundary IoU" if voxels == 1 else f"boundary IoU {voxels:g} voxels",
        definition="intersection over union of the bands of voxels along both borders that are "
        f"nearer than {voxels:g} voxels to a border voxel of their own mask",
        low=0,
        high=1,
        direction="higher",
        percent=True,
        band_voxels=voxels,
        both_empty=1,
        reference_empty=0,
        prediction_empty=0,
        missing=0,
        function=lambda measured: measured.further.boundary_ious[voxels],
    )


METRIC = of_width("boundary_iou", 1.0)


def variant(text: str) -> Metric | None:
    """Bands of another width, such as `@2`.

    Raises:
        BenchError: the width is no number above 0.
    """
    if not text.startswith("@"):
        return None
    number = re.fullmatch(r"@(\d+(?:\.\d+)?)", text)
    if number is None or not 0 < float(number[1]) < math.inf:
        raise BenchError(
            f"the parameter of `boundary_iou{text}` is unusable",
            found=text[1:],
            expected="a distance in voxels, such as boundary_iou@2",
        )
    return of_width(f"boundary_iou{text}", float(number[1]))
