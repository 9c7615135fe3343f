"""False lesions: how often a model cries wolf."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "false_lesions",
    "false lesions",
    "number of predicted lesions in a scan that are matched to none",
    attrgetter("fp"),
    "lower",
)
