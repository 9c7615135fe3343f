"""Two other implementations as engines: `surface-distance` and MONAI, called class by class.

Both are slow and exist to be compared with. Masks are cropped to the box of their union before
the call: a larger box adds only corners without a surface.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.errors import BenchError
from evaluation.metrics.records import ClassPair, Counts
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace

Mask = NDArray[np.bool_]
Box = tuple[slice, ...]
# Distances and areas of the surface elements of reference and prediction.
Surfaces = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def measure_surface_distance(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    spacing_mm: tuple[float, float, float],
    tolerances_mm: Sequence[float],
) -> list[Counts]:
    """Counts by the package `surface-distance` (see `records.Engine`)."""
    return _measure_all(reference, prediction, pairs, spacing_mm, tolerances_mm, _deepmind_surfaces)


def measure_monai(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    spacing_mm: tuple[float, float, float],
    tolerances_mm: Sequence[float],
) -> list[Counts]:
    """Counts by MONAI with `use_subvoxels=True`, in float32 (see `records.Engine`).

    Raises:
        BenchError: MONAI, which needs torch, is not installed.
    """
    try:
        import monai.metrics.utils  # noqa: F401
    except ImportError as error:
        raise BenchError(
            "the engine `monai` needs MONAI and torch, which the core installation leaves out",
            found=error,
            hint="pip install 'satbench[train]', or use the engine `sweep`",
        ) from error
    return _measure_all(reference, prediction, pairs, spacing_mm, tolerances_mm, _monai_surfaces)


def singleton_axis(shape: Sequence[int]) -> int | None:
    """The axis along which data have one slice only, which makes them two-dimensional.

    The rule for 2-D data: an array with an axis of length one is scored as a contour in the plane
    of the other two axes. The last such axis counts. A volume of one slice is *not* scored as a
    flat solid, whose top and bottom would agree whatever the contour does.
    """
    singles = [axis for axis, length in enumerate(shape) if length == 1]
    return singles[-1] if singles else None


def _measure_all(
    reference: Sequence[Array],
    prediction: Sequence[Array],
    pairs: Sequence[ClassPair],
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
    surfaces_of: Callable[[Mask, Mask, Sequence[float]], Surfaces],
) -> list[Counts]:
    sides = _Boxed(reference), _Boxed(prediction)
    flat = singleton_axis((reference or prediction)[0].shape)
    spacing = [s for axis, s in enumerate(spacing_mm) if axis != flat]
    counts = []
    for pair in pairs:
        places = pair.reference, pair.prediction
        boxes = [b for s, p in zip(sides, places, strict=True) for b in s.boxes(p)]
        if not boxes:
            zeros = (0.0,) * len(tolerances_mm)
            counts.append(Counts(0, 0, 0, 0.0, 0.0, zeros, zeros))
            continue
        box = tuple(
            slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes))
            for axis in range(3)
        )
        a, b = (side.mask(place, box) for side, place in zip(sides, places, strict=True))
        if flat is not None:
            a, b = a.squeeze(flat), b.squeeze(flat)
        counts.append(_measure(a, b, spacing, tolerances_mm, surfaces_of))
    return counts


class _Boxed:
    """Layers of one side and the box of every value in them, found in one go."""

    def __init__(self, layers: Sequence[Array]) -> None:
        self._layers = layers
        self._boxes: list[dict[int, Box]] = []
        for layer in layers:
            # Values may be negative; boxes are found for the numbers from 1.
            low = min(0, int(layer.min())) - 1 if layer.size else 0
            found = ndimage.find_objects(layer.astype(np.int32) - low)
            self._boxes.append({i + 1 + low: box for i, box in enumerate(found) if box is not None})

    def boxes(self, place: ClassPlace | None) -> list[Box]:
        """Boxes of all values of a class that occur."""
        if place is None or not self._layers:
            return []
        found = [self._boxes[part.layer].get(v) for part in place.parts for v in part.values]
        return [box for box in found if box is not None]

    def mask(self, place: ClassPlace | None, box: Box) -> Mask:
        """The mask of a class within a box."""
        mask = np.zeros([s.stop - s.start for s in box], dtype=bool)
        for part in place.parts if place and self._layers else ():
            for value in part.values:
                if value in self._boxes[part.layer]:
                    mask |= self._layers[part.layer][box] == value
        return mask


def _measure(
    a: Mask,
    b: Mask,
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
    surfaces_of: Callable[[Mask, Mask, Sequence[float]], Surfaces],
) -> Counts:
    n_a, n_b, n_both = int(a.sum()), int(b.sum()), int((a & b).sum())
    if n_a == 0 or n_b == 0:
        # Decided here: release 0.1 of `surface-distance` fails under NumPy 2 if one side is empty.
        only = a if n_a else b
        total = float(surfaces_of(only, only, spacing_mm)[1].sum())
        zeros = (0.0,) * len(tolerances_mm)
        return Counts(n_a, n_b, 0, *((total, 0.0) if n_a else (0.0, total)), zeros, zeros)
    a_to_b, area_a, b_to_a, area_b = surfaces_of(a, b, spacing_mm)
    return Counts(
        reference_voxels=n_a,
        prediction_voxels=n_b,
        intersection_voxels=n_both,
        reference_total=float(area_a.sum()),
        prediction_total=float(area_b.sum()),
        reference_within=tuple(float(area_a[a_to_b <= t].sum()) for t in tolerances_mm),
        prediction_within=tuple(float(area_b[b_to_a <= t].sum()) for t in tolerances_mm),
    )


def _deepmind_surfaces(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> Surfaces:
    import surface_distance

    with warnings.catch_warnings():
        # Release 0.1 reaches scipy.ndimage by names that scipy calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = surface_distance.compute_surface_distances(a, b, spacing_mm)
    return (
        found["distances_gt_to_pred"],
        found["surfel_areas_gt"],
        found["distances_pred_to_gt"],
        found["surfel_areas_pred"],
    )


def _monai_surfaces(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> Surfaces:
    from monai.metrics.utils import get_edge_surface_distance
    from monai.utils.type_conversion import convert_to_tensor

    with warnings.catch_warnings():
        # MONAI calls its own functions in a way that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        edges, distances, areas = get_edge_surface_distance(
            convert_to_tensor(b),
            convert_to_tensor(a),
            distance_metric="euclidean",
            spacing=list(spacing_mm),
            use_subvoxels=True,
            symmetric=True,
        )
    on_b, on_a = (np.asarray(edge, dtype=bool) for edge in edges)
    area_b, area_a = (np.asarray(area) for area in (areas if len(areas) == 2 else areas * 2))
    b_to_a, a_to_b = (np.asarray(distance) for distance in distances)
    return a_to_b, area_a[on_a], b_to_a, area_b[on_b]
