"""The default engine."""

from evaluation.metrics.peers import measure_surface_distance as measure_sweep

__all__ = ["measure_sweep"]
