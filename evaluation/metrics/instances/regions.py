"""Scores in the Voronoi regions of the reference's components (CC-Metrics, arXiv 2410.18684)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from evaluation.metrics.distances.masks import mask_distances
from evaluation.metrics.instances.components import Components, connected
from evaluation.metrics.instances.matching import instance_voxels
from evaluation.volumes.image_files import Array

Ints = NDArray[np.int64]

_TOLERANCE_VOXELS = 1.0


def cc_metrics(
    reference: Array,
    prediction: Array,
    spacing_mm: Sequence[float],
    worst_voxels: float = 30.0,
) -> dict[str, float]:
    """Means over the reference's components of scores within their regions.

    Every voxel belongs to the nearest 26-connected component of the reference, ties going to the
    component that comes first; a component and the part of the prediction in its region are then
    compared. All is counted in voxels, whatever the spacing: `cc_dsc`, `cc_nsd` at one voxel,
    `cc_hd`, `cc_hd95`, and `cc_asd`, the mean distance from the prediction to the component;
    distances between border voxels, the larger of both directions. An empty reference counts as
    perfect if the prediction is empty, else as worst.

    Args:
        reference: mask (x, y, z).
        prediction: mask of the same shape.
        spacing_mm: not used.
        worst_voxels: what a distance counts where a region holds no prediction.
    """
    del spacing_mm
    lesions = connected(reference.astype(bool, copy=False))
    predicted = np.argwhere(prediction)
    if not len(lesions):
        perfect = not len(predicted)
        distances = dict.fromkeys(("cc_hd", "cc_hd95", "cc_asd"), 0.0 if perfect else worst_voxels)
        return {"cc_dsc": float(perfect), "cc_nsd": float(perfect), **distances}
    region, inside = _regions(lesions, predicted)
    rows = []
    for k, box in enumerate(lesions.boxes):
        own = predicted[region == k]
        if not len(own):
            rows.append((0.0, 0.0, worst_voxels, worst_voxels, worst_voxels))
            continue
        low = np.minimum(own.min(axis=0), [side.start for side in box]) - 1
        high = np.maximum(own.max(axis=0) + 1, [side.stop for side in box]) + 1
        masks = np.zeros((2, *(high - low)), dtype=bool)
        at = tuple(
            slice(side.start - start, side.stop - start)
            for side, start in zip(box, low.tolist(), strict=True)
        )
        masks[0][at] = lesions.mask([k], box)
        masks[1][tuple((own - low).T)] = True
        surface = mask_distances(masks[0], masks[1], (1.0, 1.0, 1.0), "voxel-larger")
        both = int(inside[region == k].sum())
        rows.append(
            (
                2 * both / (int(lesions.voxels[k]) + len(own)),
                surface.nsd(_TOLERANCE_VOXELS),
                surface.hd(),
                surface.hd_percentile(95),
                surface.prediction.sum_mm / surface.prediction.total,
            )
        )
    means = np.mean(rows, axis=0).tolist()
    return dict(zip(("cc_dsc", "cc_nsd", "cc_hd", "cc_hd95", "cc_asd"), means, strict=True))


def _regions(lesions: Components, predicted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The nearest component of every predicted voxel, and whether the voxel lies in it."""
    own = lesions.labels[tuple(predicted.T)]
    index = np.zeros(int(lesions.labels.max()) + 1, dtype=np.int64)
    index[lesions.numbers] = np.arange(len(lesions))
    region = index[own]
    outside = np.flatnonzero(own == 0)
    if len(outside):
        places, owners = instance_voxels(lesions)
        tree = KDTree(places)
        away = np.asarray(tree.query(predicted[outside])[0])
        # Squared distances are whole numbers, so this takes exactly the nearest ones.
        tied = tree.query_ball_point(predicted[outside], np.sqrt(np.rint(away**2) + 0.25))
        region[outside] = [owners[near].min() for near in tied]
    return region, np.asarray(own > 0)
