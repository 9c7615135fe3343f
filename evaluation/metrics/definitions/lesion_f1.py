"""Lesion F1: how many lesions are found and how many findings are lesions, in one number."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "lesion_f1",
    "lesion F1",
    "2 TP / (2 TP + FP + FN) of the lesions: matched, false, missed",
    attrgetter("f1"),
)
