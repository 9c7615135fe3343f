"""What a matching yields: rows, one for each instance, and the scores of a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName

if TYPE_CHECKING:
    from evaluation.metrics.instances.matching import Matches
    from evaluation.metrics.instances.pairs import InstancePair


@dataclass(frozen=True)
class InstanceRow:
    """One instance of the reference, or a predicted one that stands for none.

    Of a detected reference instance `matched_to` are the predicted instances that stand for it
    (numbers from 1, in the order of their first voxels), and IoU, DSC and HD95 compare it with
    their union. They are NaN elsewhere; the DSC of a missed instance is 0.
    """

    side: str
    instance: int
    volume_ml: float
    matched_to: tuple[int, ...]
    detected: bool
    iou: float
    dsc: float
    hd95_mm: float


@dataclass(frozen=True)
class InstanceScores:
    """Scores of the instances of one scan; NaN where nothing divides.

    tp, fn: matched and other reference instances; fp: predicted instances that stand for none;
    f1 = 2 tp / (2 tp + fp + fn), sq: mean IoU of the matches, pq = f1 * sq (panoptic quality);
    dsc_tp: mean DSC of the matches; lesion_dsc: mean DSC of all reference instances, missed ones
    counting 0.
    """

    n_reference: int
    n_prediction: int
    tp: int
    fp: int
    fn: int
    precision: float
    recall: float
    f1: float
    sq: float
    pq: float
    dsc_tp: float
    lesion_dsc: float
    false_positive_ml: float
    false_negative_ml: float


def instance_rows(
    pair: InstancePair, matches: Matches, definition: DefinitionName = DEFAULT_DEFINITION
) -> list[InstanceRow]:
    """Rows of all reference instances, then of all predicted ones that stand for none.

    Args:
        pair: the instances.
        matches: which stand for which (see `matching`).
        definition: of HD95.
    """
    voxel_ml = pair.voxel_mm3 / 1000
    chosen = dict(matches)
    rows = []
    for r, voxels in enumerate(pair.reference.voxels.tolist()):
        predicted = chosen.get(r, [])
        iou, dsc, hd95 = math.nan, 0.0, math.nan
        if predicted:
            iou, dsc = pair.overlap(r, predicted)
            hd95 = pair.surface(r, predicted, definition).hd_percentile(95)
        numbers = tuple(p + 1 for p in predicted)
        rows.append(
            InstanceRow(
                "reference", r + 1, voxels * voxel_ml, numbers, bool(predicted), iou, dsc, hd95
            )
        )
    used = {p for predicted in chosen.values() for p in predicted}
    for p, voxels in enumerate(pair.prediction.voxels.tolist()):
        if p not in used:
            rows.append(
                InstanceRow(
                    "prediction", p + 1, voxels * voxel_ml, (), False, math.nan, math.nan, math.nan
                )
            )
    return rows


def instance_scores(pair: InstancePair, matches: Matches) -> InstanceScores:
    """Scores of a scan from a matching."""
    n_reference, n_prediction = len(pair.reference), len(pair.prediction)
    used = [p for _, predicted in matches for p in predicted]
    tp, fp, fn = len(matches), n_prediction - len(used), n_reference - len(matches)
    overlaps = [pair.overlap(r, predicted) for r, predicted in matches]
    f1 = ratio(2 * tp, 2 * tp + fp + fn)
    sq = mean([iou for iou, _ in overlaps])
    voxel_ml = pair.voxel_mm3 / 1000
    missed = np.delete(pair.reference.voxels, [r for r, _ in matches])
    false = np.delete(pair.prediction.voxels, used)
    return InstanceScores(
        n_reference,
        n_prediction,
        tp,
        fp,
        fn,
        precision=ratio(tp, n_prediction - len(used) + tp),
        recall=ratio(tp, n_reference),
        f1=f1,
        sq=sq,
        # Without a match there is no quality to speak of, and nothing was recognised.
        pq=f1 * sq if tp else f1,
        dsc_tp=mean([dsc for _, dsc in overlaps]),
        lesion_dsc=ratio(sum(dsc for _, dsc in overlaps), n_reference),
        false_positive_ml=int(false.sum()) * voxel_ml,
        false_negative_ml=int(missed.sum()) * voxel_ml,
    )


def counts_by_volume(
    volumes: ArrayLike, detected: ArrayLike, edges: Sequence[float]
) -> list[tuple[int, int]]:
    """How many structures there are in each bin of their volume, and how many are detected.

    Args:
        volumes: of the structures.
        detected: whether each is.
        edges: ascending, in the unit of the volumes; bin i holds those from edge i - 1 on and
            below edge i, the first begins at 0, the last one has no end.
    """
    bins = np.searchsorted(np.asarray(edges), np.asarray(volumes), side="right")
    found = np.asarray(detected, dtype=bool)
    return [(int((bins == i).sum()), int(found[bins == i].sum())) for i in range(len(edges) + 1)]


def ratio(part: float, whole: float) -> float:
    """The quotient; NaN over nothing."""
    return part / whole if whole else math.nan


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if values else math.nan
