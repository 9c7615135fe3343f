"""Synthetic re-uses of a scan: what other collections do to one before they publish it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from evaluation.volumes.image_files import Array, Volume

Change = Callable[[Volume, np.random.Generator], Volume]


def turned(volume: Volume, rng: np.random.Generator) -> Volume:
    """Axes permuted and flipped, the header knowing nothing of it."""
    order = [(1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1)][int(rng.integers(4))]
    array = volume.array.transpose(order)[:: int(rng.choice((1, -1))), ::-1]
    spacing = [volume.spacing_mm[axis] for axis in order]
    return Volume(array, np.diag([*spacing, 1.0]))


def resampled(step_mm: tuple[float, float, float] | float) -> Change:
    """Linear interpolation onto other voxels; a single number is a factor of the present ones."""

    def change(volume: Volume, _rng: np.random.Generator) -> Volume:
        old = np.array(volume.spacing_mm)
        new = old * step_mm if isinstance(step_mm, float) else np.array(step_mm)
        sides = (np.array(volume.array.shape) - 1) * old
        shape = np.maximum((sides / new).astype(int) + 1, 1)
        array = ndimage.affine_transform(
            volume.array.astype(np.float32), new / old, output_shape=tuple(shape.tolist()), order=1
        )
        return Volume(np.rint(array * 16) / 16, np.diag([*new, 1.0]))

    return change


def gamma(volume: Volume, _rng: np.random.Generator) -> Volume:
    """Square root of the intensities."""
    return Volume(np.sqrt(_unit(volume.array)) * 1000, volume.affine)


def windowed(volume: Volume, _rng: np.random.Generator) -> Volume:
    """Cut off below the 25 % and above the 92 % quantile."""
    low, high = np.quantile(volume.array, (0.25, 0.92))
    return Volume(np.clip(volume.array, low, high), volume.affine)


def standard_score(volume: Volume, _rng: np.random.Generator) -> Volume:
    """Mean 0, standard deviation 1."""
    array = volume.array.astype(np.float32)
    return Volume((array - array.mean()) / (array.std() + 1e-6), volume.affine)


def eight_bits(volume: Volume, _rng: np.random.Generator) -> Volume:
    """256 grey values between the 0.5 % and 99.5 % quantiles."""
    low, high = np.quantile(volume.array, (0.005, 0.995))
    array = np.clip((volume.array - low) / max(high - low, 1e-6), 0, 1) * 255
    return Volume(np.rint(array).astype(np.uint8), volume.affine)


def cropped(share: tuple[float, float, float]) -> Change:
    """A random box of these shares of the sides."""

    def change(volume: Volume, rng: np.random.Generator) -> Volume:
        size = [max(1, round(n * s)) for n, s in zip(volume.array.shape, share, strict=True)]
        start = [
            int(rng.integers(n - s + 1)) for n, s in zip(volume.array.shape, size, strict=True)
        ]
        box = tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))
        return Volume(volume.array[box], volume.affine)

    return change


def rotated(degrees: float) -> Change:
    """Turned by a small angle about a random axis."""

    def change(volume: Volume, rng: np.random.Generator) -> Volume:
        axis = rng.normal(size=3)
        turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
        spacing = np.array(volume.spacing_mm)
        matrix = turn * spacing[None, :] / spacing[:, None]
        centre = (np.array(volume.array.shape) - 1) / 2
        array = ndimage.affine_transform(
            volume.array.astype(np.float32), matrix, centre - matrix @ centre, order=1
        )
        return Volume(array, volume.affine)

    return change


def noisy(share: float) -> Change:
    """Normal noise with a standard deviation of this share of the intensities' range."""

    def change(volume: Volume, rng: np.random.Generator) -> Volume:
        low, high = np.quantile(volume.array, (0.005, 0.995))
        noise = rng.normal(0, share * (high - low), volume.array.shape)
        return Volume((volume.array + noise).astype(np.float32), volume.affine)

    return change


def without_spacing(volume: Volume, _rng: np.random.Generator) -> Volume:
    """The header lost: voxels of 1 mm."""
    return Volume(volume.array, np.eye(4))


def chain(*changes: Change) -> Change:
    """One change after another."""

    def change(volume: Volume, rng: np.random.Generator) -> Volume:
        for step in changes:
            volume = step(volume, rng)
        return volume

    return change


@dataclass(frozen=True)
class Reuse:
    """A named change."""

    name: str
    change: Change


REUSES: tuple[Reuse, ...] = (
    Reuse("flip + permutation", turned),
    Reuse("gamma 0.5", gamma),
    Reuse("window", windowed),
    Reuse("z-score", standard_score),
    Reuse("8 bits", eight_bits),
    Reuse("resample 1x1x3 mm", resampled((1.0, 1.0, 3.0))),
    Reuse("resample 2 mm", resampled((2.0, 2.0, 2.0))),
    Reuse("resample 1.4 x voxels", resampled(1.4)),
    Reuse("crop 75 % per axis", cropped((0.75, 0.75, 0.75))),
    Reuse("crop 50 % per axis", cropped((0.5, 0.5, 0.5))),
    Reuse("half of the slices", cropped((1.0, 1.0, 0.5))),
    Reuse("rotation 5 degrees", rotated(5.0)),
    Reuse("noise 3 %", noisy(0.03)),
    Reuse("spacing lost", without_spacing),
    Reuse(
        "turn + crop 75 % + 1.4 x voxels + 8 bits",
        chain(turned, cropped((0.75, 0.75, 0.75)), resampled(1.4), eight_bits),
    ),
    Reuse(
        "turn + crop 50 % + window + 1x1x3 mm + 8 bits",
        chain(turned, cropped((0.5, 0.5, 0.5)), windowed, resampled((1.0, 1.0, 3.0)), eight_bits),
    ),
)


def _unit(array: Array) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())
    return ((array - low) / max(high - low, 1e-6)).astype(np.float32)
