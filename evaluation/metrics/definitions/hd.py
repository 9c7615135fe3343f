"""HD: the largest distance between two surfaces (Hausdorff), and percentiles such as hd90."""

from __future__ import annotations

import re

from evaluation.errors import BenchError
from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.metric import Metric, distance_metric

METRIC = distance_metric(
    "hd", "HD", "largest distance from either surface to the other one", SurfaceDistances.hd
)


def variant(text: str) -> Metric | None:
    """Percentile of the Hausdorff distance, such as `95` or `99.5`.

    Raises:
        BenchError: a number that is no percentile.
    """
    if not re.fullmatch(r"(0|[1-9]\d*)(\.\d*[1-9])?", text):
        return None
    percent = float(text)
    if percent > 100:
        raise BenchError(
            f"the parameter of `hd{text}` is unusable",
            found=text,
            expected="a percentile from 0 to 100, such as hd95",
        )
    return distance_metric(
        f"hd{text}",
        f"HD{text}",
        f"percentile {text} of the distances from one surface to the other",
        lambda surface: surface.hd_percentile(percent),
    )
