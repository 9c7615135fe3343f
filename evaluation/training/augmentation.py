"""Random changes of a training crop: zoom, rotation, noise, sharpness, blur, intensities.

Geometry moves image and labels together; intensities are MONAI's transforms, seeded from the
sample's own generator. No flips: they would confuse left and right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.training.settings import Augmentation
from evaluation.volumes.image_files import Array


def augment(
    image: Tensor, layers: Array, settings: Augmentation, random: np.random.Generator
) -> tuple[Tensor, Array]:
    """Change a crop at random.

    Args:
        image: (1, X, Y, Z) float32, normalised.
        layers: (L, X, Y, Z) integers.
        settings: chances and ranges.
        random: the sample's generator.

    Returns:
        Image and layers of the same shapes and types.
    """
    zoom = random.uniform(*settings.zoom) if random.random() < settings.zoom_p else 1.0
    turns: list[float] = []
    if random.random() < settings.rotation_p:
        axes = 3 if settings.rotation_axes == "all" else 1
        largest = math.radians(settings.rotation_degrees)
        turns = [random.uniform(-1, 1) * largest for _ in range(axes)]
    if zoom != 1.0 or any(turns):
        image, layers = _move(image, layers, zoom, turns, in_plane=settings.zoom_in_plane)
    if any(
        (settings.noise_p, settings.sharpen_p, settings.intensity_p, settings.gamma_p,
         settings.contrast_p, settings.blur_p)
    ):  # fmt: skip
        image = _intensities(image, settings, int(random.integers(2**32)))
    return image, layers


def _move(
    image: Tensor, layers: Array, zoom: float, turns: Sequence[float], *, in_plane: bool
) -> tuple[Tensor, Array]:
    """Zoom (> 1 enlarges) and turn about z, then y, then x, around the middle of the crop."""
    sizes = torch.tensor(image.shape[:0:-1], dtype=torch.float64)
    matrix = torch.eye(3, dtype=torch.float64)
    # Axes are counted as grid_sample does, last axis first: z, y, x. A turn about z moves y and x.
    for (first, second), angle in zip(((1, 2), (0, 2), (0, 1)), turns, strict=False):
        turn = torch.eye(3, dtype=torch.float64)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = math.sin(angle), -math.sin(angle)
        matrix = matrix @ turn
    zooms = torch.tensor([1.0 if in_plane else zoom, zoom, zoom], dtype=torch.float64)
    # grid_sample counts from -1 to 1 along each axis: a turn in voxels needs the ratio of sides.
    matrix = matrix / zooms * sizes / sizes[:, None]
    theta = torch.cat((matrix, torch.zeros(3, 1)), dim=1).float()
    grid = torch.nn.functional.affine_grid(
        theta[None], [1, 1, *image.shape[1:]], align_corners=False
    )
    moved = torch.nn.functional.grid_sample(
        image[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0]
    labels = torch.from_numpy(layers.astype(np.float32))[None]
    turned = torch.nn.functional.grid_sample(
        labels, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )[0]
    return moved, turned.numpy().astype(layers.dtype)


def _intensities(image: Tensor, settings: Augmentation, seed: int) -> Tensor:
    transforms = _intensity_transforms(settings)
    transforms.set_random_state(seed=seed)
    changed: Any = transforms(image)
    return torch.as_tensor(changed, dtype=torch.float32)


_CACHE: dict[Augmentation, Any] = {}


def _intensity_transforms(settings: Augmentation) -> Any:
    """MONAI's transforms, built once for each process: importing MONAI takes seconds."""
    if settings not in _CACHE:
        # By name, because the package does not declare what it re-exports.
        transforms: Any = import_module("monai.transforms")
        data: Any = import_module("monai.data")
        data.set_track_meta(False)
        changes = [
            transforms.RandGaussianNoise(prob=settings.noise_p, std=settings.noise_deviation),
            transforms.RandGaussianSharpen(prob=settings.sharpen_p),
            transforms.RandScaleIntensity(
                factors=settings.intensity_factor, prob=settings.intensity_p
            ),
            transforms.RandAdjustContrast(
                prob=settings.gamma_p, gamma=settings.gamma,
                retain_stats=settings.gamma_keeps_moments,
            ),
        ]  # fmt: skip
        # Behind the others, whose seeds follow from their places.
        if settings.contrast_p:
            changes.append(
                transforms.RandScaleIntensityFixedMean(
                    prob=settings.contrast_p, factors=settings.contrast_factor,
                    fixed_mean=True, preserve_range=True,
                )
            )  # fmt: skip
        if settings.blur_p:
            sigma = settings.blur_sigma
            changes.append(
                transforms.RandGaussianSmooth(
                    prob=settings.blur_p, sigma_x=sigma, sigma_y=sigma, sigma_z=sigma
                )
            )
        _CACHE[settings] = transforms.Compose(changes)
    return _CACHE[settings]
