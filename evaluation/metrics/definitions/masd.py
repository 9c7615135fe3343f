"""MASD: how far two surfaces lie apart on average, either direction counting the same."""

from __future__ import annotations

from math import inf, nan

from evaluation.metrics.metric import Measurement, Metric


def masd(measured: Measurement) -> float:
    """The mean of the mean distances of both directions, by area, in mm."""
    return measured.surface.masd()


METRIC = Metric(
    id="masd",
    title="MASD",
    definition="mean of both directions' mean distances, by area; a structure that is missed, or "
    "found where none is, has no distance and is in no mean",
    unit="mm",
    low=0,
    high=inf,
    direction="lower",
    needs_distances=True,
    both_empty=nan,
    reference_empty=nan,
    prediction_empty=nan,
    missing=nan,
    function=masd,
)
