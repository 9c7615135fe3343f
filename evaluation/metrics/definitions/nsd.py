"""NSD: the agreement of two surfaces within a tolerance (Nikolov et al. 2021).

By default it is the surface-element form of the package `surface-distance`.
"""

from __future__ import annotations

from evaluation.metrics.metric import Measurement, Metric


def nsd(measured: Measurement) -> float:
    """The share of both surfaces that lies within the tolerance of the other one, 0..1."""
    if measured.further.distances is not None:
        return measured.surface.nsd(measured.tolerance_mm)
    within = measured.surface_reference_within_mm2 + measured.surface_prediction_within_mm2
    total = measured.surface_reference_total_mm2 + measured.surface_prediction_total_mm2
    return within / total


METRIC = Metric(
    id="nsd",
    title="NSD",
    definition="normalised surface distance: share of both surfaces that lies within the "
    "tolerance of the other one",
    low=0,
    high=1,
    direction="higher",
    percent=True,
    parameter="tolerance_mm",
    both_empty=1,
    reference_empty=0,
    prediction_empty=0,
    missing=0,
    function=nsd,
)
