"""HD: the largest distance between two surfaces (Hausdorff)."""

from __future__ import annotations

from math import inf, nan

from evaluation.metrics.metric import Measurement, Metric


def hd(measured: Measurement) -> float:
    """The largest distance from either surface to the other one, in mm."""
    return measured.surface.hd()


METRIC = Metric(
    id="hd",
    title="HD",
    definition="largest distance from either surface to the other one; a structure that is missed, "
    "or found where none is, has no distance and is in no mean",
    unit="mm",
    low=0,
    high=inf,
    direction="lower",
    needs_distances=True,
    both_empty=nan,
    reference_empty=nan,
    prediction_empty=nan,
    missing=nan,
    function=hd,
)
