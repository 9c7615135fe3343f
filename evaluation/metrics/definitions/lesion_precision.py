"""Lesion precision: how many findings are lesions."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "lesion_precision",
    "lesion precision",
    "share of the predicted lesions that are matched to one of the reference",
    attrgetter("precision"),
)
