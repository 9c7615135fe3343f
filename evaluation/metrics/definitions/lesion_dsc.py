"""Lesion-wise DSC: lesion by lesion, so that a small one counts as much as a large one."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "lesion_dsc",
    "lesion-wise DSC",
    "mean DSC of the reference's lesions, each with what was matched to it; a missed one counts 0",
    attrgetter("lesion_dsc"),
)
