"""The lesion-wise scores of the BraTS challenges, rule by rule; 2023 and 2026 differ.

Names of values are the challenges' ideas in our words: `lesionwise_dsc`, `lesionwise_hd95`, counts
`tp`, `fp`, `fn`. Penalties are the challenges' own numbers. Data of one slice
are solids here, as they are to the challenges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.metrics.distances.masks import mask_distances
from evaluation.metrics.instances.components import connected
from evaluation.metrics.instances.matching import match_instances
from evaluation.metrics.instances.pairs import joined_box, pair_instances
from evaluation.metrics.instances.scores import ratio

Mask = NDArray[np.bool_]
Scores = dict[str, float]

PENALTY_2023_MM, PENALTY_2026_MM = 374.0, 373.0
_NEIGHBOURS_18 = ndimage.generate_binary_structure(3, 2)


def brats_2023(
    reference: Mask,
    prediction: Mask,
    spacing_mm: Sequence[float],
    dilation: int,
    smallest_mm3: float,
) -> Scores:
    """Lesion-wise scores of BraTS 2023, of one region.

    Reference lesions are the 26-connected components of the reference after `dilation` steps of
    the 18-neighbourhood, cut back to the reference; predicted ones are the 26-connected components
    as they are. A lesion takes every prediction that touches its own dilation (one prediction may
    serve several lesions); its DSC and HD95 (surface elements) compare it, undilated, with all of
    these predictions. Lesions of at most `smallest_mm3` leave, but their predictions are no false
    positives. A missed lesion counts DSC 0 and HD95 374 mm, and so does every prediction that
    touches no lesion. Without lesions and false positives DSC is 1 and HD95 0.

    Args:
        reference: mask (x, y, z).
        prediction: mask of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        dilation: 3 for glioma (GLI, SSA, PED), 1 for meningioma and metastases.
        smallest_mm3: 50, for metastases 2.
    """
    voxel = math.prod(spacing_mm)
    parts = connected(ndimage.binary_dilation(reference, _NEIGHBOURS_18, iterations=dilation))
    predicted = connected(prediction)
    dsc, hd95, touched = [], [], set[int]()
    tp = fn = 0
    for r, box in enumerate(parts.boxes):
        # The component is the dilation of the lesion, which is what the reference has of it.
        near = parts.mask([r], box)
        lesion = near & reference[box]
        numbers = np.setdiff1d(predicted.labels[box][near], [0])
        pieces = np.flatnonzero(np.isin(predicted.numbers, numbers)).tolist()
        touched.update(pieces)
        if int(lesion.sum()) * voxel <= smallest_mm3:
            continue
        if not pieces:
            fn += 1
            dsc.append(0.0)
            hd95.append(PENALTY_2023_MM)
            continue
        tp += 1
        whole = joined_box([box, *(predicted.boxes[p] for p in pieces)])
        a = parts.mask([r], whole) & reference[whole]
        b = predicted.mask(pieces, whole)
        dsc.append(_dsc(a, b))
        hd95.append(mask_distances(np.pad(a, 1), np.pad(b, 1), spacing_mm).hd_percentile(95))
    fp = len(predicted) - len(touched)
    n = len(dsc) + fp
    return {
        "lesionwise_dsc": sum(dsc) / n if n else 1.0,
        "lesionwise_hd95": (sum(hd95) + fp * PENALTY_2023_MM) / n if n else 0.0,
        "tp": tp,
        "fp": fp,
        "fn": fn,
    }


def _dsc(a: Mask, b: Mask) -> float:
    return 2 * int((a & b).sum()) / int(a.sum() + b.sum())


def brats_2026(
    reference: Mask,
    prediction: Mask,
    spacing_mm: Sequence[float],
    metastases: bool = False,
    large_mm3: float = 20.0,
    least_dsc: float = 0.1,
) -> Scores:
    """Lesion-wise scores of BraTS 2026 (brats-evaluation), of one region.

    26-connected components of both sides, one to one with the largest sum of DSC, any overlap
    counts. Distances are between border voxels, percentiles pooled, NSD by side at the smallest
    spacing. Counts and F1 are of all instances, `global_*` of the two masks as a whole, in
    voxels whatever the spacing, with NSD at half a voxel (without any overlap: 0, 373, 0).

    All tasks but metastases: `lesionwise_*` are over matched lesions only; without a match DSC and
    NSD are 0 and HD95 is infinite, as the challenge has it.

    Metastases: `lesionwise_*` are over lesions of at least `large_mm3`, missed ones counting DSC 0,
    NSD 0 and HD95 373 mm, and over every false positive of any size, which counts the same. F1 is
    given for large and for small lesions: hits are matches with a DSC of at least `least_dsc`, and
    every false positive counts in both. Values are NaN where there is no large (small) lesion.

    Args:
        reference: mask (x, y, z).
        prediction: mask of the same shape.
        spacing_mm: voxel size along x, y, z in mm.
        metastases: which of the two.
        large_mm3: smallest volume of a large lesion.
        least_dsc: smallest DSC of a hit among the large and among the small lesions.
    """
    pair = pair_instances(reference, prediction, spacing_mm)
    matches = match_instances(pair, "one-to-one", "DSC", 1e-6)
    volumes = pair.reference.voxels * pair.voxel_mm3
    matched = {}
    for r, predicted in matches:
        surface = pair.surface(r, predicted, "voxel-pooled", solid=True)
        matched[r] = (
            pair.overlap(r, predicted)[1],
            surface.hd_percentile(95),
            surface.nsd(min(spacing_mm)),
        )
    tp = len(matches)
    fp, fn = len(pair.prediction) - tp, len(pair.reference) - tp
    scores: Scores = {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        **_whole_2026(reference, prediction),
    }
    if not metastases:
        values = list(matched.values())
        # Where nothing is there at all, nothing is defined.
        none = (0.0, math.inf, 0.0) if fp + fn else (math.nan,) * 3
        return scores | _summary(values, none)
    missed = 0.0, PENALTY_2026_MM, 0.0
    is_large = volumes >= large_mm3
    values = [matched.get(r, missed) for r in np.flatnonzero(is_large).tolist()]
    if values:
        values += [missed] * fp
    scores |= _summary(values, (math.nan,) * 3)
    for name, members in (("large", is_large), ("small", ~is_large)):
        own = np.flatnonzero(members).tolist()
        hits = sum(r in matched and matched[r][0] >= least_dsc for r in own)
        scores |= {
            f"{name}_tp": hits if own else math.nan,
            f"{name}_fp": fp if own else math.nan,
            f"{name}_fn": len(own) - hits if own else math.nan,
            f"{name}_precision": (hits / (hits + fp) if hits else 0.0) if own else math.nan,
            f"{name}_recall": ratio(hits, len(own)),
            f"{name}_f1": 2 * hits / (2 * hits + fp + len(own) - hits) if own else math.nan,
        }
    return scores


def _whole_2026(reference: Mask, prediction: Mask) -> Scores:
    """DSC, HD95 and NSD of the two masks as a whole; distances in voxels, NSD at half of one."""
    dsc, hd95, nsd = 0.0, PENALTY_2026_MM, 0.0
    if not (reference.any() or prediction.any()):
        dsc = hd95 = nsd = math.nan
    elif (reference & prediction).any():
        sides = np.pad(reference, 1), np.pad(prediction, 1)
        surface = mask_distances(*sides, (1.0, 1.0, 1.0), "voxel-pooled")
        dsc, hd95, nsd = _dsc(reference, prediction), surface.hd_percentile(95), surface.nsd(0.5)
    return {"global_dsc": dsc, "global_hd95": hd95, "global_nsd": nsd}


def _summary(values: Sequence[tuple[float, ...]], none: tuple[float, ...]) -> Scores:
    """Mean and standard deviation (divisor n) over lesions of DSC, HD95 and NSD."""
    found: Scores = {}
    for i, name in enumerate(("dsc", "hd95", "nsd")):
        column = [value[i] for value in values]
        found[f"lesionwise_{name}"] = float(np.mean(column)) if column else none[i]
        found[f"lesionwise_{name}_std"] = float(np.std(column)) if column else math.nan
    return found
