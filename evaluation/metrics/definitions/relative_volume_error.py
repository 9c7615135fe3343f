"""Relative volume error: by what share of its volume a structure is over- or underestimated."""

from __future__ import annotations

from math import inf, nan

from evaluation.metrics.metric import Measurement, Metric


def relative_volume_error(measured: Measurement) -> float:
    """Absolute difference of the volumes over the reference volume, from 0."""
    difference = abs(measured.prediction_voxels - measured.reference_voxels)
    return difference / measured.reference_voxels


METRIC = Metric(
    id="relative_volume_error",
    title="relative volume error",
    definition="absolute difference of predicted and reference volume over the reference volume; "
    "undefined where the reference is empty",
    low=0,
    high=inf,
    direction="lower",
    percent=True,
    both_empty=nan,
    reference_empty=nan,
    prediction_empty=1,
    # All of the volume is wrong, as with an empty prediction.
    missing=1,
    function=relative_volume_error,
)
