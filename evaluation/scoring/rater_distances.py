"""A tolerance for NSD from raters: how far apart the surfaces lie that people draw of one thing.

Nikolov et al. (Clinically applicable segmentation of head and neck anatomy for radiotherapy, JMIR
2021; arXiv 1809.04430), who introduced the measure, take for each organ the 95th percentile of the
distances collected over segmentations of several people. Within it a model is as near as people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from evaluation.errors import BenchError
from evaluation.metrics import ClassPair
from evaluation.metrics.distances.distribution import Distribution
from evaluation.metrics.distances.elements import element_distances
from evaluation.scoring.folder_pairs import Settings, pairs_of
from evaluation.scoring.inputs import PairedFiles
from evaluation.scoring.pipeline import in_threads
from evaluation.volumes.image_files import spacing_of

PERCENT = 95.0
COLUMNS = ("class", "tolerance_mm", "n_cases", "n_pairs")


def tolerances_of(pairs: Sequence[PairedFiles], settings: Settings, jobs: int = 1) -> pd.DataFrame:
    """Of each class the distance that 95 % of the raters' surfaces keep to each other.

    Distances of both directions of all pairs and cases are pooled, by area of surface elements. A
    pair of which one side is empty has none.

    Args:
        pairs: two raters' masks of a case each.
        settings: with the classes.
        jobs: pairs at once.

    Returns:
        Columns class, tolerance_mm, n_cases, n_pairs; a class without a distance is left out.
    """
    pooled: dict[str, Distribution] = {}
    cases: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    found = in_threads(lambda pair: _distances(pair, settings), pairs, jobs, "distances of raters")
    for pair, own in zip(pairs, found, strict=True):
        for name, distances in own.items():
            known = pooled.get(name)
            pooled[name] = distances if known is None else known.pooled(distances)
            cases.setdefault(name, set()).add(pair.name)
            counts[name] = counts.get(name, 0) + 1
    rows = [
        (name, pooled[name].reaching(PERCENT), len(cases[name]), counts[name])
        for name in settings.labels
        if name in pooled
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _distances(pair: PairedFiles, settings: Settings) -> dict[str, Distribution]:
    """By class; what cannot be compared has been said where it was scored."""
    try:
        (comparison,) = pairs_of(pair, settings)
    except BenchError:
        return {}
    if comparison.prediction is None:
        return {}
    asked = [a for a in comparison.asked if a.reference is not None and a.prediction is not None]
    measured = element_distances(
        comparison.reference.layers,
        comparison.prediction.layers,
        [ClassPair(a.class_name, a.reference, a.prediction) for a in asked],
        spacing_of(comparison.reference.affine),
        False,
    )
    return {
        a.class_name: one.surface.reference.pooled(one.surface.prediction)
        for a, one in zip(asked, measured, strict=True)
        if one.surface.defined and np.isfinite(one.surface.hd())
    }


def in_configuration(tolerance_mm: float) -> float:
    """Rounded up to a hundredth of a millimetre, so that the distance itself lies within."""
    return math.ceil(tolerance_mm * 100 - 1e-6) / 100
