"""Random changes of a training crop: zoom, rotation, noise, sharpness, intensity, gamma.

Geometry moves image and labels together; intensities are MONAI's transforms, seeded from the
sample's own generator. No flips: they would confuse left and right.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.volumes.image_files import Array
from sat.config import Augmentation


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
    angle = 0.0
    if random.random() < settings.rotation_p:
        angle = math.radians(random.uniform(-1, 1) * settings.rotation_degrees)
    if zoom != 1.0 or angle:
        image, layers = _move(image, layers, zoom, angle, in_plane=settings.zoom_in_plane)
    if any((settings.noise_p, settings.sharpen_p, settings.intensity_p, settings.gamma_p)):
        image = _intensities(image, settings, int(random.integers(2**32)))
    return image, layers


def _move(
    image: Tensor, layers: Array, zoom: float, angle: float, *, in_plane: bool
) -> tuple[Tensor, Array]:
    """Zoom (> 1 enlarges) and turn about the z axis, around the middle of the crop."""
    size_x, size_y, _ = image.shape[1:]
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    # grid_sample counts from -1 to 1 along each axis, last axis first: a turn in voxels needs
    # the ratio of the sides.
    theta = torch.tensor(
        [
            [1.0 if in_plane else 1 / zoom, 0.0, 0.0, 0.0],
            [0.0, cosine, sine * size_x / size_y, 0.0],
            [0.0, -sine * size_y / size_x, cosine, 0.0],
        ]
    )
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
        _CACHE[settings] = transforms.Compose(
            [
                transforms.RandGaussianNoise(prob=settings.noise_p, std=settings.noise_deviation),
                transforms.RandGaussianSharpen(prob=settings.sharpen_p),
                transforms.RandScaleIntensity(
                    factors=settings.intensity_factor, prob=settings.intensity_p
                ),
                transforms.RandAdjustContrast(prob=settings.gamma_p, gamma=settings.gamma),
            ]
        )
    return _CACHE[settings]
