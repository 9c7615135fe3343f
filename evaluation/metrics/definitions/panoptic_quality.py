"""Panoptic quality: how many lesions are found, and how well (Kirillov et al. 2019)."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "panoptic_quality",
    "panoptic quality",
    "lesion F1 times the mean IoU of the matched lesions",
    attrgetter("pq"),
)
