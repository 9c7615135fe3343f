"""Recall: how much of the structure was found. It says nothing of false alarms: see precision."""

from __future__ import annotations

from math import nan

from evaluation.metrics.metric import Measurement, Metric


def recall(measured: Measurement) -> float:
    """Common volume over the reference volume, 0..1."""
    return measured.intersection_voxels / measured.reference_voxels


METRIC = Metric(
    id="recall",
    title="recall",
    definition="common volume over the reference volume; undefined where the structure is absent",
    low=0,
    high=1,
    direction="higher",
    percent=True,
    both_empty=1,
    reference_empty=nan,
    prediction_empty=0,
    missing=0,
    function=recall,
)
