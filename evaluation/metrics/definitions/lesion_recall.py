"""Lesion recall: how many lesions are found."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "lesion_recall",
    "lesion recall",
    "share of the reference's lesions that are found",
    attrgetter("recall"),
)
