"""Volume difference: how much too large (above 0) or too small (below 0) a prediction is.

Errors of both signs cancel in a mean, so it says how far a model is biased, and ranks nobody.
"""

from __future__ import annotations

from math import inf, nan

from evaluation.metrics.metric import Measurement, Metric


def volume_difference(measured: Measurement) -> float:
    """Predicted minus reference volume in ml."""
    voxels = measured.prediction_voxels - measured.reference_voxels
    return voxels * measured.voxel_ml


METRIC = Metric(
    id="volume_difference",
    title="volume difference",
    definition="predicted minus reference volume; the mean is a model's bias",
    unit="ml",
    low=-inf,
    high=inf,
    direction="none",
    both_empty=0,
    reference_empty=None,
    prediction_empty=None,
    # Nothing was predicted, which is no volume of 0: no bias is known.
    missing=nan,
    function=volume_difference,
)
