"""HD95: how far surfaces lie apart, but for the worst twentieth (Hausdorff's distance at 95 %)."""

from __future__ import annotations

from math import inf, nan

from evaluation.metrics.metric import Measurement, Metric


def hd95(measured: Measurement) -> float:
    """The larger of both directions' 95th percentiles of the surface distances, in mm."""
    return measured.surface.hd_percentile(95)


METRIC = Metric(
    id="hd95",
    title="HD95",
    definition="95th percentile of the distances from one surface to the other, by area and not "
    "interpolated, the larger of both directions; a structure that is missed, or found where "
    "none is, has no distance and is in no mean",
    unit="mm",
    low=0,
    high=inf,
    direction="lower",
    needs_distances=True,
    both_empty=nan,
    reference_empty=nan,
    prediction_empty=nan,
    missing=nan,
    function=hd95,
)
