"""HD95: how far surfaces lie apart, but for the worst twentieth; a variant of HD."""

from __future__ import annotations

from evaluation.metrics.definitions import hd

METRIC = hd.variant("95")
