"""What the default engine measures of all classes of a case, for the metrics that are asked for."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION
from evaluation.metrics.distances.distribution import SurfaceDistances
from evaluation.metrics.distances.elements import PairDistances, element_distances
from evaluation.metrics.distances.voxels import boundary_ious, voxel_distances
from evaluation.metrics.engine import measure_sweep
from evaluation.metrics.instances.rules import Matching
from evaluation.metrics.metric import Further
from evaluation.metrics.records import ClassPair, Counts, Scoring
from evaluation.volumes.image_files import Array

FAR = 2000
"""Voxels within a tolerance from which on distances are measured instead."""


def measure_all(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    scoring: Scoring,
    instances: Collection[str] | None,
    matching: Matching,
) -> tuple[list[Counts], list[Further]]:
    """Counts of all pairs, in order, and what else their metrics need.

    Args:
        reference: integer layers (x, y, z).
        prediction: integer layers of the same shape, or none.
        pairs: what to compare with what; a side without a place counts as empty.
        scoring: metrics, spacing, tolerances and definition.
        instances: names of the classes whose structures are counted one by one; None = all.
        matching: how they are told apart and matched.
    """
    layers, spacing = (reference, prediction), scoring.spacing_mm
    by_elements = scoring.definition == DEFAULT_DEFINITION
    # Under another definition NSD, too, is of other surfaces.
    wanted = any(
        m.needs_distances or (m.has_tolerance and not by_elements) for m in scoring.metrics
    )
    widths = {m.band_voxels for m in scoring.metrics if m.band_voxels is not None}
    surfaces: Sequence[SurfaceDistances | None] = [None] * len(pairs)
    if (wanted and by_elements) or _reaches_far(scoring):
        # Exact at any distance, at a cost that does not grow with it.
        found = element_distances(*layers, pairs, spacing, 1.0 in widths)
        counts = [_counts(one, scoring.tolerances_mm) for one in found]
        surfaces = [one.surface for one in found]
    else:
        counts = measure_sweep(*layers, pairs, spacing, scoring.tolerances_mm, 1.0 in widths)
    if wanted and not by_elements:
        surfaces = voxel_distances(*layers, pairs, spacing, scoring.definition)
    bands = {
        # Bands of one voxel are the borders themselves, which the sweep counts on its way.
        width: [_iou(one.borders) for one in counts]
        if width == 1
        else boundary_ious(*layers, pairs, width)
        for width in sorted(widths)
    }
    further = [
        Further(surface, {width: values[i] for width, values in bands.items()})
        for i, surface in enumerate(surfaces)
    ]
    if any(metric.needs_instances for metric in scoring.metrics):
        from evaluation.metrics.instances.classes import with_instances

        further = with_instances(further, *layers, pairs, scoring, instances, matching)
    return counts, further


def _reaches_far(scoring: Scoring) -> bool:
    """Whether the ball of the largest tolerance holds more voxels than a sweep should try."""
    return 4 / 3 * math.pi * max(scoring.tolerances_mm) ** 3 > FAR * math.prod(scoring.spacing_mm)


def _counts(found: PairDistances, tolerances: Sequence[float]) -> Counts:
    reference, prediction = found.surface.sides
    return Counts(
        found.reference_voxels,
        found.prediction_voxels,
        found.intersection_voxels,
        reference.total,
        prediction.total,
        tuple(reference.within(tolerance) for tolerance in tolerances),
        tuple(prediction.within(tolerance) for tolerance in tolerances),
        found.borders,
    )


def _iou(borders: tuple[int, int, int] | None) -> float:
    """IoU of border voxels; NaN where there are none."""
    a, b, both = borders or (0, 0, 0)
    return both / (a + b - both) if a + b else math.nan
