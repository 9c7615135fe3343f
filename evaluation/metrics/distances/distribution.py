"""All distances of a pair of surfaces, and the numbers that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.distances.definitions import DEFAULT_DEFINITION, DefinitionName

Floats = NDArray[np.float64]
# A share of the surface that equals the percentage but for rounding has reached it, so that the
# order of axes, say, cannot move a percentile.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Distribution:
    """Distances of the points of one surface to the other one.

    `distances_mm` ascend, without repeats; `weights` are what lies at each of them: areas in mm²
    (of one slice: contour lengths in mm) or numbers of border voxels. Where the other surface does
    not exist, distances are infinite; where this one does not exist, there are none.
    """

    distances_mm: Floats
    weights: Floats

    @classmethod
    def of(cls, distances_mm: Floats, weights: Floats) -> Distribution:
        """A distribution from distances in any order, with repeats and zero weights."""
        keep = weights > 0
        distances, place = np.unique(distances_mm[keep], return_inverse=True)
        summed = np.zeros(len(distances))
        np.add.at(summed, place, weights[keep])
        return cls(distances, summed)

    @cached_property
    def cumulated(self) -> Floats:
        """The surface up to and with each distance."""
        return np.cumsum(self.weights, dtype=np.float64)

    @cached_property
    def total(self) -> float:
        """The whole surface."""
        return float(self.cumulated[-1]) if len(self.weights) else 0.0

    @cached_property
    def sum_mm(self) -> float:
        """Sum of all distances, each times its weight."""
        return float(self.distances_mm @ self.weights)

    def within(self, tolerance_mm: float) -> float:
        """The part of the surface whose distance is at most the tolerance."""
        n = int(self.distances_mm.searchsorted(tolerance_mm, side="right"))
        return float(self.cumulated[n - 1]) if n else 0.0

    def reaching(self, percent: float) -> float:
        """The first distance at which the cumulated weight reaches `percent` of the whole."""
        wanted = percent / 100 * self.total * (1 - _ROUNDING)
        return float(self.distances_mm[int(self.cumulated.searchsorted(wanted))])

    def interpolated(self, percent: float) -> float:
        """The percentile of repeated distances, linear between order statistics.

        Weights must be numbers of points.
        """
        up_to = self.cumulated
        at = (up_to[-1] - 1) * percent / 100
        low = math.floor(at)
        first, second = (
            self.distances_mm[int(np.searchsorted(up_to, n, side="right"))]
            for n in (low, min(low + 1, up_to[-1] - 1))
        )
        # Equal neighbours may both be infinite.
        return float(first if first == second else first + (second - first) * (at - low))

    def pooled(self, other: Distribution) -> Distribution:
        """Both directions as one."""
        return Distribution.of(
            np.concatenate([self.distances_mm, other.distances_mm]),
            np.concatenate([self.weights, other.weights]),
        )


def field_diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Length of the diagonal of a scan's field: what a missed structure may be made to cost.

    Args:
        shape: voxels along each axis.
        spacing_mm: voxel size along each axis in mm.
    """
    return math.hypot(*(n * s for n, s in zip(shape, spacing_mm, strict=True)))


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances of both directions: from the reference's surface, from the prediction's.

    The formulas are those of the named definition (see `definitions`). Distances in mm are NaN
    where either surface does not exist: a missed structure has no distance, be it 0 or infinite.
    """

    reference: Distribution
    prediction: Distribution
    definition: DefinitionName = DEFAULT_DEFINITION

    @property
    def sides(self) -> tuple[Distribution, Distribution]:
        """Both directions."""
        return self.reference, self.prediction

    @property
    def defined(self) -> bool:
        """Whether both surfaces exist."""
        return all(side.distances_mm.size for side in self.sides)

    def hd(self) -> float:
        """Hausdorff distance in mm: the largest distance of all."""
        return max(float(s.distances_mm[-1]) for s in self.sides) if self.defined else math.nan

    def hd_percentile(self, percent: float) -> float:
        """Percentile of the Hausdorff distance in mm, such as HD95.

        Args:
            percent: 0 to 100.
        """
        if not self.defined:
            return math.nan
        if self.definition == "surface-element":
            return max(side.reaching(percent) for side in self.sides)
        if self.definition == "voxel-larger":
            return max(side.interpolated(percent) for side in self.sides)
        return self.reference.pooled(self.prediction).interpolated(percent)

    def assd(self) -> float:
        """Average symmetric surface distance in mm: the mean over both surfaces together."""
        if not self.defined:
            return math.nan
        return sum(s.sum_mm for s in self.sides) / sum(s.total for s in self.sides)

    def masd(self) -> float:
        """Mean average surface distance in mm: the mean of the two directions' means."""
        return sum(s.sum_mm / s.total for s in self.sides) / 2 if self.defined else math.nan

    def nsd(self, tolerance_mm: float) -> float:
        """Normalised surface distance, 0..1: 0 where one surface is missing, NaN for both.

        Args:
            tolerance_mm: at least 0.
        """
        within = [side.within(tolerance_mm) for side in self.sides]
        totals = [side.total for side in self.sides]
        if not any(totals):
            return math.nan
        if not all(totals):
            return 0.0
        if self.definition == "voxel-pooled":
            return sum(w / t for w, t in zip(within, totals, strict=True)) / 2
        return sum(within) / sum(totals)
