"""Named protocols: what a challenge or a paper computes of the lesions of one scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import BenchError, did_you_mean
from evaluation.metrics.instances.brats import brats_2023, brats_2026
from evaluation.metrics.instances.matching import match_instances
from evaluation.metrics.instances.pairs import pair_instances
from evaluation.metrics.instances.regions import cc_metrics
from evaluation.metrics.instances.scores import instance_scores
from evaluation.volumes.image_files import Array

Mask = NDArray[np.bool_]
Scores = dict[str, float]


def panoptic(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> Scores:
    """26-connected components, one to one with the best sum of IoU, at IoU 0.5."""
    pair = pair_instances(reference, prediction, spacing_mm)
    return dict(vars(instance_scores(pair, match_instances(pair))))


def f1_iou50(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> Scores:
    """F1 at IoU 0.5 with the DSC of true positives, as the CVPR 2025 text track computes them.

    A mask is split into its components, of 26 neighbours in the reference and of 6 in the
    prediction; a map of integers holds instances as they were drawn. As many pairs as possible
    with an IoU of at least 0.5, among these the largest sum. Without a prediction all counts, F1
    and DSC are 0.
    """
    pair = pair_instances(
        reference,
        prediction,
        spacing_mm,
        (26 if reference.dtype == bool else None, 6 if prediction.dtype == bool else None),
    )
    if not len(pair.prediction):
        return dict.fromkeys(("tp", "fp", "fn", "f1", "dsc_tp"), 0.0)
    scores = instance_scores(pair, match_instances(pair, "most-pairs", "IoU", 0.5))
    return {
        "tp": scores.tp,
        "fp": scores.fp,
        "fn": scores.fn,
        "f1": scores.f1,
        "dsc_tp": scores.dsc_tp if scores.tp else 0.0,
    }


def autopet(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> Scores:
    """False-positive and false-negative volume of autoPET, in ml.

    Volume of the 18-connected components of the prediction that share no voxel with the reference,
    and of those of the reference that share none with the prediction.
    """
    masks = [side.astype(bool, copy=False) for side in (reference, prediction)]
    pair = pair_instances(masks[0], masks[1], spacing_mm, (18, 18))
    voxel_ml = pair.voxel_mm3 / 1000
    alone = [
        int(np.delete(side.voxels, np.unique(pair.overlaps[:, column])).sum()) * voxel_ml
        for column, side in enumerate((pair.reference, pair.prediction))
    ]
    return {"false_positive_ml": alone[1], "false_negative_ml": alone[0]}


def wmh_2017(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> Scores:
    """Recall and F1 of the challenge of white matter hyperintensities (WMH).

    26-connected components; recall is the share of the reference's that share a voxel with the
    prediction, precision the other way round (each 1 without a component); F1 is their harmonic
    mean.
    """
    tp, fp, fn, hits = _any_overlap(reference, prediction, spacing_mm)
    recall = tp / (tp + fn) if tp + fn else 1.0
    precision = hits / (hits + fp) if hits + fp else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"recall": recall, "precision": precision, "f1": f1}


def isles_2022(reference: Array, prediction: Array, spacing_mm: Sequence[float]) -> Scores:
    """F1 of lesions and difference of their numbers, as ISLES 2022 computes them.

    26-connected components; true positives and misses are counted among the reference's, false
    positives among the prediction's; any common voxel is a hit. F1 is 1 if both are empty.
    """
    tp, fp, fn, hits = _any_overlap(reference, prediction, spacing_mm)
    f1 = tp / (tp + (fp + fn) / 2) if tp + fp + fn else 1.0
    difference = float(abs(tp + fn - hits - fp))
    return {"tp": tp, "fp": fp, "fn": fn, "f1": f1, "count_difference": difference}


def _any_overlap(
    reference: Array, prediction: Array, spacing_mm: Sequence[float]
) -> tuple[int, int, int, int]:
    """Found lesions, predictions and lesions without a partner, predictions with one."""
    pair = pair_instances(reference, prediction, spacing_mm)
    found, hits = (len(np.unique(pair.overlaps[:, column])) for column in (0, 1))
    return found, len(pair.prediction) - hits, len(pair.reference) - found, hits


@dataclass(frozen=True)
class Protocol:
    """A protocol: its title, its rules in words, and the function that follows them."""

    name: str
    title: str
    rules: str
    function: Callable[[Any, Any, Sequence[float]], Scores]


def _brats_2023(name: str, title: str, dilation: int, smallest_mm3: float) -> Protocol:
    function = partial(brats_2023, dilation=dilation, smallest_mm3=smallest_mm3)
    rules = (
        f"26-connected components of the reference dilated by {dilation} steps; all predictions "
        f"that touch; lesions above {smallest_mm3:g} mm³; missed and false lesions DSC 0, "
        "HD95 374 mm"
    )
    return Protocol(name, title, rules, function)


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "panoptic",
            "one to one at IoU 0.5",
            "26-connected components, one to one with the best sum of IoU, IoU at least 0.5",
            panoptic,
        ),
        Protocol(
            "f1-iou50",
            "F1 at IoU 0.5",
            "most pairs with IoU at least 0.5, then the largest sum; prediction split by faces",
            f1_iou50,
        ),
        _brats_2023("brats-2023-gli", "BraTS 2023 glioma", 3, 50),
        _brats_2023("brats-2023-men", "BraTS 2023 meningioma", 1, 50),
        _brats_2023("brats-2023-met", "BraTS 2023 metastases", 1, 2),
        Protocol(
            "brats-2026",
            "BraTS 2026, all tasks but metastases",
            "26-connected components, one to one with the best sum of DSC; means over matches",
            brats_2026,
        ),
        Protocol(
            "brats-2026-mets",
            "BraTS 2026 metastases",
            "as brats-2026; lesions of at least 20 mm³, missed and false ones DSC 0, HD95 373 mm",
            partial(brats_2026, metastases=True),
        ),
        Protocol(
            "cc-metrics",
            "CC-Metrics",
            "DSC and distances within the Voronoi regions of the reference's components, in "
            "voxels, mean over components",
            cc_metrics,
        ),
        Protocol(
            "autopet",
            "autoPET",
            "volume of 18-connected components without a common voxel",
            autopet,
        ),
        Protocol(
            "wmh-2017",
            "WMH challenge",
            "26-connected components, any common voxel is a hit; F1 of both sides' shares",
            wmh_2017,
        ),
        Protocol(
            "isles-2022",
            "ISLES 2022",
            "26-connected components, any common voxel is a hit; tp and fn of the reference",
            isles_2022,
        ),
    )
}
DEFAULT_PROTOCOL = "panoptic"


def score_instances(
    reference: Array,
    prediction: Array,
    spacing_mm: Sequence[float],
    protocol: str = DEFAULT_PROTOCOL,
) -> Scores:
    """Scores of the lesions of one scan by a named protocol; NaN where one is undefined.

    Args:
        reference: boolean mask (x, y, z); for `f1-iou50` also a map of instances as drawn.
        prediction: the same, of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        protocol: a name in `PROTOCOLS`.

    Raises:
        BenchError: arrays or spacing are unusable, or there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise BenchError(
            f"no protocol `{protocol}`",
            expected=", ".join(PROTOCOLS),
            hint=did_you_mean(protocol, list(PROTOCOLS)),
        )
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    if reference.shape != prediction.shape or reference.ndim != 3 or 0 in reference.shape:
        raise BenchError(
            "reference and prediction are not volumes of one shape",
            found=(reference.shape, prediction.shape),
            expected="the same three numbers of voxels",
        )
    spacing = [float(s) for s in spacing_mm]
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise BenchError(
            "voxel spacing is unusable", found=spacing, expected="three positive numbers in mm"
        )
    if protocol != "f1-iou50":
        reference, prediction = (side.astype(bool, copy=False) for side in (reference, prediction))
    return PROTOCOLS[protocol].function(reference, prediction, spacing)
