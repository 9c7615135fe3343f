"""Solids in millimetres, and the jitter that makes every patient another one.

Coordinates are anatomical: x to the patient's right, y to the front, z to the head (RAS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Vector = NDArray[np.float64]
Triple = tuple[float, float, float]


class Solid(Protocol):
    """A region of space that knows its bounding box."""

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) in mm of an axis-parallel box around it."""
        ...

    def contains(self, x: Field, y: Field, z: Field) -> NDArray[np.bool_]:
        """Which points, given by their coordinates in mm, lie inside."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """A turned ellipsoid; with `flatness` above 2 its local z ends become flat (a vertebra)."""

    centre: Vector
    radii: Vector
    rotation: NDArray[np.float64]
    flatness: int = 2

    def bounds(self) -> tuple[Vector, Vector]:
        """The box of the turned ellipsoid; a flat-ended one gets the box of its turned box."""
        turned = self.rotation * self.radii
        half = np.linalg.norm(turned, axis=1) if self.flatness == 2 else np.abs(turned).sum(axis=1)
        return self.centre - half, self.centre + half

    def contains(self, x: Field, y: Field, z: Field) -> NDArray[np.bool_]:
        """Inside where |u|^2 + |v|^2 + |w|^flatness <= 1 in the ellipsoid's own unit frame."""
        dx, dy, dz = (p - np.float32(c) for p, c in zip((x, y, z), self.centre, strict=True))
        total: Field | None = None
        for axis in range(3):
            a, b, c = (self.rotation[:, axis] / self.radii[axis]).astype(np.float32)
            local = a * dx + b * dy + c * dz
            local *= local
            if axis == 2 and self.flatness > 2:
                local = local ** (self.flatness // 2)
            total = local if total is None else total + local
        assert total is not None
        return total <= 1


@dataclass(frozen=True)
class RoundCone:
    """All points near a segment; the radius runs linearly from one end to the other.

    `stretch` widens the cross-section along an axis: distances are taken after dividing by it.
    """

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float
    stretch: Triple = (1.0, 1.0, 1.0)

    def bounds(self) -> tuple[Vector, Vector]:
        """The box around both end spheres."""
        reach = max(self.start_radius, self.end_radius) * np.array(self.stretch)
        low = np.minimum(self.start, self.end) - reach
        return low, np.maximum(self.start, self.end) + reach

    def contains(self, x: Field, y: Field, z: Field) -> NDArray[np.bool_]:
        """Inside where the distance to the segment is at most the radius at the nearest point."""
        stretch = np.array(self.stretch)
        start, end = self.start / stretch, self.end / stretch
        way = end - start
        offset = [
            p * np.float32(1 / s) - np.float32(a)
            for p, s, a in zip((x, y, z), stretch, start, strict=True)
        ]
        length_squared = max(float(way @ way), 1e-9)
        along = sum(
            (o * np.float32(w / length_squared) for o, w in zip(offset, way, strict=True)),
            start=np.zeros_like(x),
        )
        np.clip(along, 0, 1, out=along)
        distance_squared = np.zeros_like(x)
        for o, w in zip(offset, way, strict=True):
            o -= along * np.float32(w)
            distance_squared += o * o
        radius = self.start_radius + along * np.float32(self.end_radius - self.start_radius)
        return distance_squared <= radius * radius


def tube(
    points: Sequence[Vector] | NDArray[np.float64],
    radii: Sequence[float] | NDArray[np.float64],
    stretch: Triple = (1.0, 1.0, 1.0),
) -> list[RoundCone]:
    """A chain of round cones through `points` (mm) with a radius (mm) at each."""
    return [
        RoundCone(np.asarray(a), np.asarray(b), float(ra), float(rb), stretch)
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    ]


def rotation_of(degrees: Triple) -> NDArray[np.float64]:
    """Rotation matrix (3, 3): first about x, then y, then z, angles in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix: NDArray[np.float64] = about_z @ about_y @ about_x
    return matrix


@dataclass(frozen=True)
class Jitter:
    """Draws one patient's variant of a nominal shape.

    Sizes vary by +-12 % as a whole and +-8 % per axis, angles by +-8 degrees; how far a shape
    may move is its own (3 to 7 mm in the recipe). `side` = -1 mirrors the nominal shape to the
    patient's left before it is varied, so pairs mirror each other without being copies.
    """

    rng: np.random.Generator

    def ellipsoid(
        self,
        centre: Triple,
        radii: Triple,
        degrees: Triple = (0.0, 0.0, 0.0),
        *,
        move_mm: float = 5.0,
        side: int = 1,
        flatness: int = 2,
    ) -> Ellipsoid:
        """A varied ellipsoid; centre and radii in mm, turned by `degrees` about x, y, z."""
        turn = np.array(degrees) * (1, side, side) + self.rng.uniform(-8, 8, 3)
        size = self.rng.uniform(0.88, 1.12) * self.rng.uniform(0.92, 1.08, 3)
        return Ellipsoid(
            self.point(centre, move_mm, side),
            np.array(radii) * size,
            rotation_of((turn[0], turn[1], turn[2])),
            flatness,
        )

    def tube(
        self,
        points: Sequence[Triple],
        radii: Sequence[float],
        *,
        move_mm: float = 4.0,
        side: int = 1,
        stretch: Triple = (1.0, 1.0, 1.0),
    ) -> list[RoundCone]:
        """A varied tube: moved as a whole and, by half as much, at every point."""
        shift = self.point((0.0, 0.0, 0.0), move_mm)
        path = [self.point(p, move_mm / 2, side) + shift for p in points]
        return tube(path, np.array(radii) * self.rng.uniform(0.88, 1.12), stretch)

    def point(self, centre: Triple, move_mm: float, side: int = 1) -> Vector:
        """`centre` (mirrored if `side` is -1) moved by up to `move_mm` along each axis."""
        return np.array(centre) * (side, 1, 1) + self.rng.uniform(-move_mm, move_mm, 3)

    def around(self, mean: float, half_range: float) -> float:
        """A uniform draw from mean +- half_range."""
        return float(self.rng.uniform(mean - half_range, mean + half_range))
