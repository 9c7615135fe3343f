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

from evaluation.cases import ClassPlace
from evaluation.errors import BenchError
from evaluation.io import Array
from evaluation.metrics.records import ClassPair, Counts

Mask = NDArray[np.bool_]
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
    return [
        _measure(pair, reference, prediction, spacing_mm, tolerances_mm, _deepmind_surfaces)
        for pair in pairs
    ]


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
            hint="pip install 'satbench[sat]', or use the engine `sweep`",
        ) from error
    return [
        _measure(pair, reference, prediction, spacing_mm, tolerances_mm, _monai_surfaces)
        for pair in pairs
    ]


def singleton_axis(shape: Sequence[int]) -> int | None:
    """The axis along which data have one slice only, which makes them two-dimensional.

    The rule for 2-D data: an array with an axis of length one is scored as a contour in the plane
    of the other two axes. The last such axis counts. A volume of one slice is *not* scored as a
    flat solid, whose top and bottom would agree whatever the contour does.
    """
    singles = [axis for axis, length in enumerate(shape) if length == 1]
    return singles[-1] if singles else None


def _measure(
    pair: ClassPair,
    reference: Sequence[Array],
    prediction: Sequence[Array],
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
    surfaces_of: Callable[[Mask, Mask, Sequence[float]], Surfaces],
) -> Counts:
    a, b = _mask(reference, pair.reference), _mask(prediction, pair.prediction)
    flat = singleton_axis((reference or prediction)[0].shape)
    zeros = (0.0,) * len(tolerances_mm)
    box = _box([mask for mask in (a, b) if mask is not None])
    if box is None:
        return Counts(0, 0, 0, 0.0, 0.0, zeros, zeros)
    shape = tuple(s.stop - s.start for s in box)
    a = np.zeros(shape, dtype=bool) if a is None else a[box]
    b = np.zeros(shape, dtype=bool) if b is None else b[box]
    spacing = list(spacing_mm)
    if flat is not None:
        a, b = a.squeeze(flat), b.squeeze(flat)
        del spacing[flat]
    n_a, n_b, n_both = int(a.sum()), int(b.sum()), int((a & b).sum())
    if n_a == 0 or n_b == 0:
        # Decided here: release 0.1 of `surface-distance` fails under NumPy 2 if one side is empty.
        only = a if n_a else b
        total = float(surfaces_of(only, only, spacing)[1].sum())
        totals = (total, 0.0) if n_a else (0.0, total)
        return Counts(n_a, n_b, 0, *totals, zeros, zeros)
    a_to_b, area_a, b_to_a, area_b = surfaces_of(a, b, spacing)
    return Counts(
        reference_voxels=n_a,
        prediction_voxels=n_b,
        intersection_voxels=n_both,
        reference_total=float(area_a.sum()),
        prediction_total=float(area_b.sum()),
        reference_within=tuple(float(area_a[a_to_b <= t].sum()) for t in tolerances_mm),
        prediction_within=tuple(float(area_b[b_to_a <= t].sum()) for t in tolerances_mm),
    )


def _mask(layers: Sequence[Array], place: ClassPlace | None) -> Mask | None:
    if place is None or not layers:
        return None
    mask = np.zeros(layers[0].shape, dtype=bool)
    for part in place.parts:
        mask |= np.isin(layers[part.layer], part.values)
    return mask


def _box(masks: Sequence[Mask]) -> tuple[slice, ...] | None:
    """The smallest box that holds every mask; None if all are empty."""
    low: list[int] = []
    high: list[int] = []
    if not masks:
        return None
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.concatenate([np.flatnonzero(mask.any(axis=others)) for mask in masks])
        if filled.size == 0:
            return None
        low.append(int(filled.min()))
        high.append(int(filled.max()))
    return tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))


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
    from monai.utils import convert_to_tensor

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
