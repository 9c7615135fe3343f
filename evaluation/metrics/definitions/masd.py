"""MASD: how far two surfaces lie apart on average, either direction counting the same."""

from __future__ import annotations

from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.metric import distance_metric

METRIC = distance_metric(
    "masd", "MASD", "mean of both directions' mean distances", SurfaceDistances.masd
)
