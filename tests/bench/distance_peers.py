"""Other tools' HD95 and mean distances of two masks, for `tests.bench.distances`.

Each is called as its documentation has it, on masks with spacing in mm. A tool that is not
installed is left out; MedPy, panoptica, SimpleITK, seg-metrics and pymeshmetrics are in no extra of
this project (`pip install medpy panoptica SimpleITK seg-metrics pymeshmetrics`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.metrics.distances.definitions import DefinitionName

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]
Peer = Callable[[Mask, Mask, Spacing], dict[str, float]]


def surface_distance_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95, mean distances and NSD by the package `surface-distance`."""
    import surface_distance as peer

    found = peer.compute_surface_distances(a, b, spacing)
    return {
        "hd95": peer.compute_robust_hausdorff(found, 95),
        "masd": float(np.mean(peer.compute_average_surface_distance(found))),
        "nsd@1": peer.compute_surface_dice_at_tolerance(found, 1.0),
    }


def monai_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and ASSD by MONAI."""
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_distance import compute_average_surface_distance

    one, other = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (b, a)]
    return {
        "hd95": float(compute_hausdorff_distance(one, other, percentile=95, spacing=spacing)),
        "assd": float(
            compute_average_surface_distance(one, other, symmetric=True, spacing=spacing)
        ),
    }


def scipy_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and ASSD as MedPy computes them: erosion and two transforms."""
    borders = [np.pad(m, 1) & ~ndimage.binary_erosion(np.pad(m, 1)) for m in (a, b)]
    there, back = (
        ndimage.distance_transform_edt(~other, sampling=spacing)[own]
        for own, other in (borders, borders[::-1])
    )
    both = np.concatenate([there, back])
    return {"hd95": float(np.percentile(both, 95)), "assd": float(both.mean())}


def medpy_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and ASSD by MedPy."""
    from medpy.metric import binary

    return {
        "hd95": float(binary.hd95(b, a, voxelspacing=spacing)),
        "assd": float(binary.assd(b, a, voxelspacing=spacing)),
    }


def panoptica_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and the mean of both directions' means (which it calls ASSD) by panoptica."""
    from panoptica.metrics import Metric

    sides = a.astype(np.uint8), b.astype(np.uint8)
    return {
        name: float(metric(*sides, voxelspacing=spacing))
        for name, metric in (("hd95", Metric.HD95), ("masd", Metric.ASSD))
    }


def simpleitk_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and ASSD by the usual recipe: contours and signed distance maps of SimpleITK.

    Within a mask its maps count from another layer of voxels, so the values are not ours.
    """
    import SimpleITK

    surfaces, maps = [], []
    for mask in (a, b):
        image = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        # A view must not outlive its image, so both images have a name.
        contour = SimpleITK.LabelContour(image)
        surfaces.append(SimpleITK.GetArrayViewFromImage(contour) > 0)
        distance = SimpleITK.SignedMaurerDistanceMap(
            image, squaredDistance=False, useImageSpacing=True
        )
        maps.append(np.abs(SimpleITK.GetArrayViewFromImage(distance)))
    both = np.concatenate([maps[1][surfaces[0]], maps[0][surfaces[1]]])
    np.percentile(both, 95), both.mean()
    return {}


def seg_metrics_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and mean distance by seg-metrics, whose surfaces are others than ours."""
    from seg_metrics import seg_metrics

    seg_metrics.write_metrics(
        labels=[1],
        gdth_img=a.astype(np.uint8),
        pred_img=b.astype(np.uint8),
        spacing=list(spacing),
        metrics=["hd95", "msd"],
        verbose=False,
    )
    return {}


def mesh_peer(a: Mask, b: Mask, spacing: Spacing) -> dict[str, float]:
    """HD95 and ASSD by pymeshmetrics, between meshes, which we do not measure."""
    from meshmetrics import DistanceMetrics

    metrics = DistanceMetrics()
    metrics.set_input(ref=a, pred=b, spacing=spacing)
    metrics.hd(percentile=95)
    metrics.assd()
    return {}


PEERS: dict[str, tuple[Peer, DefinitionName]] = {
    "surface_distance": (surface_distance_peer, "surface-element"),
    "monai": (monai_peer, "voxel-larger"),
    "scipy": (scipy_peer, "voxel-pooled"),
    "medpy": (medpy_peer, "voxel-pooled"),
    "panoptica": (panoptica_peer, "voxel-pooled"),
    "SimpleITK": (simpleitk_peer, "voxel-pooled"),
    "seg_metrics": (seg_metrics_peer, "voxel-pooled"),
    "meshmetrics": (mesh_peer, "surface-element"),
}
"""Tool -> how it is called, and the definition that its values, where it gives any, are of."""
