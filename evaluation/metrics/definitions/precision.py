"""Precision: how much of what was predicted is right. It falls with every false alarm."""

from __future__ import annotations

from math import nan

from evaluation.metrics.metric import Measurement, Metric


def precision(measured: Measurement) -> float:
    """Common volume over the predicted volume, 0..1."""
    return measured.intersection_voxels / measured.prediction_voxels


METRIC = Metric(
    id="precision",
    title="precision",
    definition="common volume over the predicted volume; undefined where nothing was predicted",
    low=0,
    high=1,
    direction="higher",
    percent=True,
    both_empty=1,
    reference_empty=0,
    prediction_empty=nan,
    missing=nan,
    function=precision,
)
