"""IoU: the overlap of two masks (Jaccard); it orders single pairs as DSC does, means differ."""

from __future__ import annotations

from evaluation.metrics.metric import Measurement, Metric


def iou(measured: Measurement) -> float:
    """The common volume over the volume of the union, 0..1."""
    both = measured.intersection_voxels
    return both / (measured.reference_voxels + measured.prediction_voxels - both)


METRIC = Metric(
    id="iou",
    title="IoU",
    definition="intersection over union: the common volume over the volume of both together",
    low=0,
    high=1,
    direction="higher",
    percent=True,
    both_empty=1,
    reference_empty=0,
    prediction_empty=0,
    missing=0,
    function=iou,
)
