"""ASSD: how far two surfaces lie apart on average, both taken together."""

from __future__ import annotations

from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.metric import distance_metric

METRIC = distance_metric(
    "assd", "ASSD", "mean distance over both surfaces together", SurfaceDistances.assd
)
