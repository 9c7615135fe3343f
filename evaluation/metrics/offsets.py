"""Which corners lie within the tolerance of a corner, nearest first."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TIE_MM = 1e-9


class ToleranceTieWarning(UserWarning):
    """Distances that equal the tolerance mathematically fall on both sides of it in float64."""


def corner_steps(
    spacing_mm: Sequence[float], tolerances_mm: Sequence[float], shape: Sequence[int]
) -> NDArray[np.int64]:
    """Steps between corners that are no longer than the largest tolerance.

    "The nearest surface is within the tolerance" is the same as "one of these steps leads to a
    surface", if a step's length is computed as a distance transform does it: multiplied by the
    spacing, squared, added in axis order, square root, compared by <=. Two steps of one true
    length may then differ in the last bit; if the tolerance lies between them, a warning says so.

    Args:
        spacing_mm: voxel size along each axis in mm.
        tolerances_mm: tolerances in mm, ascending.
        shape: voxels along each axis; longer steps lead out of the volume and are left out.

    Returns:
        int64 (n, 4), nearest first: three index differences and the index of the smallest
        tolerance that covers the step. Row 0 is no step at all.
    """
    largest = tolerances_mm[-1]
    ranges = []
    for spacing, length in zip(spacing_mm, shape, strict=True):
        reach = min(int((largest + TIE_MM) / spacing), length)
        ranges.append(range(-reach, reach + 1))
    steps = np.array(list(itertools.product(*ranges)), dtype=np.int64)
    squares = (steps * np.asarray(spacing_mm, dtype=np.float64)) ** 2
    lengths = np.sqrt((squares[:, 0] + squares[:, 1]) + squares[:, 2])
    for tolerance in tolerances_mm:
        tied = lengths[np.abs(lengths - tolerance) < TIE_MM]
        if tied.size and tied.min() <= tolerance < tied.max():
            warnings.warn(
                f"tolerance {tolerance} mm at spacing {tuple(spacing_mm)} mm: steps of exactly "
                "that length fall on both sides of it in float64; other implementations may "
                "count some surface elements differently",
                ToleranceTieWarning,
                stacklevel=2,
            )
    levels = np.searchsorted(np.asarray(tolerances_mm), lengths, side="left")
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= largest]
    return np.column_stack([steps[order], levels[order]])
