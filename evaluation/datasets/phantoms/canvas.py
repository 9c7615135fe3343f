"""Where solids become voxels: drawn at twice the resolution, then averaged down.

The image gets partial volume from the averaging, labels are the majority of the eight
sub-voxels. Each solid is tested only inside its own bounding box.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.datasets.phantoms.shapes import Field, Solid, Triple

FINE = 2


@dataclass(frozen=True)
class FieldOfView:
    """The field of view: voxels and mm along x, y, z, and its centre in anatomical mm."""

    shape: tuple[int, int, int]
    spacing_mm: Triple
    centre_mm: Triple


@dataclass(frozen=True)
class Phantom:
    """A drawn patient in RAS: image, label map and the structures' values, on one grid.

    Args:
        image: (x, y, z) float32; HU for CT, arbitrary units for MR.
        labels: (x, y, z) uint8, 0 where no named structure is.
        values: structure name -> value in `labels`.
        spacing_mm: voxel size along x, y, z.
        origin_mm: position of the centre of voxel (0, 0, 0).
    """

    image: Field
    labels: NDArray[np.uint8]
    values: dict[str, int]
    spacing_mm: Triple
    origin_mm: Triple

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Boolean mask (x, y, z) of a structure; empty if the patient does not have it."""
        return self.labels == self.values[name] if name in self.values else self.labels > 255


def smooth_field(
    rng: np.random.Generator, axes: tuple[Field, Field, Field], knot_mm: float
) -> Field:
    """A smooth random field (x, y, z) of about unit standard deviation.

    Cubic B-splines over a lattice of independent normal coefficients `knot_mm` apart, evaluated
    axis by axis, which costs three small matrix products.
    """
    bases = [_bspline_basis(axis, knot_mm) for axis in axes]
    coefficients = rng.standard_normal([b.shape[1] for b in bases]).clip(-2, 2)
    field = np.einsum("abc,ia->ibc", coefficients.astype(np.float32), bases[0])
    field = np.einsum("ibc,jb->ijc", field, bases[1], optimize=True)
    field = np.einsum("ijc,kc->ijk", field, bases[2], optimize=True)
    # The mean square of a cubic B-spline basis is 151/315 per axis: bring the variance back to 1.
    unit: Field = field / np.float32((151 / 315) ** 1.5)
    return unit


def _bspline_basis(axis: Field, knot_mm: float) -> Field:
    """Cubic B-spline weights (points, knots) of positions in mm."""
    position = (axis - axis.min()) / knot_mm
    n_knots = int(np.ceil(position.max())) + 4
    distance = np.abs(position[:, None] - (np.arange(n_knots) - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return weights.astype(np.float32)


class Canvas:
    """A patient under construction; what is painted later lies on top.

    `x`, `y`, `z` are the anatomical coordinates in mm of every sub-voxel after the patient's
    size and the smooth warp.

    Args:
        rng: the patient's random numbers.
        grid: the field of view.
        size: the patient's size relative to the nominal anatomy, per axis.
        warp_mm: standard deviation of the warp.
        background: intensity of what is never painted.
        knot_mm: distance of the warp's knots; its correlation reaches about as far.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        grid: FieldOfView,
        *,
        size: Triple,
        warp_mm: float,
        background: float,
        knot_mm: float = 60.0,
    ) -> None:
        self.grid = grid
        self.values: dict[str, int] = {}
        shape = tuple(n * FINE for n in grid.shape)
        axes = [
            ((np.arange(n) - (n - 1) / 2) * (spacing / FINE) + centre) / scale
            for n, spacing, centre, scale in zip(
                shape, grid.spacing_mm, grid.centre_mm, size, strict=True
            )
        ]
        self._axes = axes
        plain = (
            axes[0].astype(np.float32),
            axes[1].astype(np.float32),
            axes[2].astype(np.float32),
        )
        warp = [smooth_field(rng, plain, knot_mm) * np.float32(warp_mm) for _ in range(3)]
        self._slack = np.array([float(np.abs(w).max()) for w in warp])
        self.x: Field = warp[0] + plain[0][:, None, None]
        self.y: Field = warp[1] + plain[1][None, :, None]
        self.z: Field = warp[2] + plain[2][None, None, :]
        self.intensity: Field = np.full(shape, background, dtype=np.float32)
        self._labels = np.zeros(shape, dtype=np.uint8)

    def paint(
        self,
        solids: Solid | Iterable[Solid],
        intensity: float,
        name: str | None = None,
        inside: NDArray[np.bool_] | None = None,
    ) -> None:
        """Paint solids with one intensity, as structure `name` or as unnamed tissue.

        `inside` (sub-voxels x, y, z) restricts the painting, for example to the body cavity.
        """
        value = self._value(name)
        for solid in solids if isinstance(solids, Iterable) else (solids,):
            box = self._box(solid)
            if box is None:
                continue
            hit = solid.contains(self.x[box], self.y[box], self.z[box])
            if inside is not None:
                hit &= inside[box]
            self.intensity[box][hit] = intensity
            self._labels[box][hit] = value

    def paint_region(
        self, region: NDArray[np.bool_], intensity: float, name: str | None = None
    ) -> None:
        """Paint a mask of sub-voxels (x, y, z)."""
        self.intensity[region] = intensity
        self._labels[region] = self._value(name)

    def region(self, name: str) -> NDArray[np.bool_]:
        """Sub-voxels (x, y, z) that show a structure now."""
        mask: NDArray[np.bool_] = self._labels == self._value(name)
        return mask

    def finish(self) -> Phantom:
        """Average the image down and take the majority of the labels; no noise yet."""
        nx, ny, nz = self.grid.shape
        blocks = (nx, FINE, ny, FINE, nz, FINE)
        image = self.intensity.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
        parts = self._labels.reshape(blocks).transpose(0, 2, 4, 1, 3, 5).reshape(-1, FINE**3)
        labels = parts[:, 0].copy()
        mixed = np.flatnonzero((parts != parts[:, :1]).any(axis=1))
        candidates = parts[mixed]
        votes = (candidates[:, :, None] == candidates[:, None, :]).sum(axis=2)
        # A tie goes to whichever comes first in the block, which favours neither side.
        labels[mixed] = candidates[np.arange(len(mixed)), votes.argmax(axis=1)]
        spacing, centre = self.grid.spacing_mm, self.grid.centre_mm
        origin = [
            c - s * (n - 1) / 2 for c, s, n in zip(centre, spacing, (nx, ny, nz), strict=True)
        ]
        return Phantom(
            image=image,
            labels=labels.reshape(nx, ny, nz),
            values=dict(self.values),
            spacing_mm=spacing,
            origin_mm=(origin[0], origin[1], origin[2]),
        )

    def _value(self, name: str | None) -> int:
        if name is None:
            return 0
        return self.values.setdefault(name, len(self.values) + 1)

    def _box(self, solid: Solid) -> tuple[slice, slice, slice] | None:
        low, high = solid.bounds()
        box = []
        for axis, lowest, highest, slack in zip(self._axes, low, high, self._slack, strict=True):
            first = int(np.searchsorted(axis, lowest - slack, side="left"))
            last = int(np.searchsorted(axis, highest + slack, side="right"))
            if first >= last:
                return None
            box.append(slice(first, last))
        return box[0], box[1], box[2]


def correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Field:
    """Normal noise (x, y, z) of standard deviation `sigma`, slightly correlated between voxels."""
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, 0.5, mode="nearest")
    noise: Field = smooth * np.float32(sigma / smooth.std())
    return noise


def magnetic_resonance(rng: np.random.Generator, image: Field, spacing_mm: Triple) -> Field:
    """An MR magnitude image of a tissue image in units of about 0 to 1.

    A smooth multiplicative bias, Rician noise of 5 to 9 % of the unit, and an arbitrary scale of
    300 to 900, since MR has no absolute unit.
    """
    x, y, z = (
        (np.arange(n) * s).astype(np.float32) for n, s in zip(image.shape, spacing_mm, strict=True)
    )
    bias = np.exp(np.float32(0.12) * smooth_field(rng, (x, y, z), 90.0))
    sigma = rng.uniform(0.05, 0.09)
    real = image * bias + correlated_noise(rng, image.shape, sigma)
    imaginary = correlated_noise(rng, image.shape, sigma)
    signal: Field = np.hypot(real, imaginary) * np.float32(rng.uniform(300, 900))
    return signal


def positron_emission(rng: np.random.Generator, image: Field, spacing_mm: Triple) -> Field:
    """A PET image of the true uptake in SUV (x, y, z): blurred to 7 mm, with counting noise.

    The noise of a voxel grows with the root of its uptake, as that of counted decays does.
    """
    sigma = [7 / 2.355 / spacing for spacing in spacing_mm]
    blurred = ndimage.gaussian_filter(image, sigma, mode="nearest")
    noise = correlated_noise(rng, image.shape, rng.uniform(0.10, 0.18))
    counted: Field = np.maximum(blurred + np.sqrt(blurred.clip(0)) * noise, 0)
    return counted
