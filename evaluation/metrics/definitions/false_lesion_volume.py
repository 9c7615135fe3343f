"""False lesion volume: how much of what is found is none."""

from __future__ import annotations

from operator import attrgetter

from evaluation.metrics.metric import instance_metric

METRIC = instance_metric(
    "false_lesion_volume",
    "false lesion volume",
    "volume in a scan of the predicted lesions that are matched to none",
    attrgetter("false_positive_ml"),
    "lower",
    "ml",
)
