"""ASSD: how far two surfaces lie apart on average, both taken together."""

from __future__ import annotations

from math import inf, nan

from evaluation.metrics.metric import Measurement, Metric


def assd(measured: Measurement) -> float:
    """The mean over both surfaces together, by area, in mm."""
    return measured.surface.assd()


METRIC = Metric(
    id="assd",
    title="ASSD",
    definition="mean distance over both surfaces together, by area; a structure that is missed, or "
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
    function=assd,
)
