"""DSC: the overlap of two masks (Dice 1945)."""

from __future__ import annotations

from evaluation.metrics.metric import Measurement, Metric


def dsc(measured: Measurement) -> float:
    """Twice the common volume over the sum of both, 0..1."""
    total = measured.reference_voxels + measured.prediction_voxels
    return 2 * measured.intersection_voxels / total


METRIC = Metric(
    id="dsc",
    title="DSC",
    definition="Dice similarity coefficient: twice the common volume over the sum of both volumes",
    low=0,
    high=1,
    direction="higher",
    percent=True,
    both_empty=1,
    reference_empty=0,
    prediction_empty=0,
    missing=0,
    function=dsc,
)
