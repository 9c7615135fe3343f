"""The network's own grid: same axes and extent as the scan, other voxels.

Both grids cover the same box from the outer edge of the first voxel to that of the last, so a
position needs no offset and the way back is the way there with the sizes exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom
from torch import Tensor

from baselines.universal.multi_decoder.config import Grid, Triple
from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Array


def own_shape(shape: Sequence[int], spacing_mm: Sequence[float], own_mm: Sequence[float]) -> Triple:
    """Number of voxels along x, y, z on the own grid; the own spacing is met within rounding."""
    x, y, z = (
        max(1, round(n * mm / own)) for n, mm, own in zip(shape, spacing_mm, own_mm, strict=True)
    )
    return x, y, z


def image_on_grid(image: Array, shape: Triple) -> NDArray[np.float32]:
    """An image (x, y, z) on the own grid, linearly; smoothed first along axes that get coarser."""
    factors = np.array(image.shape) / shape
    smooth = gaussian_filter(
        image.astype(np.float32), np.maximum(0, (factors - 1) / 2), mode="nearest"
    )
    resized: NDArray[np.float32] = zoom(
        smooth, 1 / factors, order=1, mode="nearest", grid_mode=True
    )
    return resized


def labels_on_grid(labels: Array, shape: Triple) -> Array:
    """A label map (x, y, z) on the own grid, nearest neighbour."""
    factors = np.array(shape) / np.array(labels.shape)
    resized: Array = zoom(labels, factors, order=0, mode="nearest", grid_mode=True)
    return resized


def normalise(image: NDArray[np.float32], modality: Modality, grid: Grid) -> NDArray[np.float32]:
    """Clip (CT to HU, others to percentiles), then zero mean and unit deviation.

    Raises:
        BenchError: all voxels are alike, or some are no numbers.
    """
    low, high = (
        grid.ct_clip_hu if modality == "ct" else np.percentile(image, list(grid.mri_percentiles))
    )
    clipped = np.clip(image, low, high)
    mean, deviation = float(clipped.mean()), float(clipped.std())
    if not np.isfinite(deviation) or deviation == 0:
        raise BenchError(
            "the image cannot be normalised",
            found=f"mean {mean:g}, standard deviation {deviation:g} between {low:g} and {high:g}",
            expected="finite values that differ",
        )
    normalised: NDArray[np.float32] = ((clipped - mean) / deviation).astype(np.float32)
    return normalised


def labels_from_probabilities(probabilities: Tensor, shape: Sequence[int]) -> NDArray[np.uint8]:
    """The likeliest label on the native grid.

    Probabilities are interpolated linearly, one channel at a time, so that only two native
    volumes are held; a label map is never resampled.

    Args:
        probabilities: (C, X, Y, Z) on the own grid.
        shape: the native grid's.
    """
    best = torch.full(tuple(shape), -1.0)
    labels = torch.zeros(tuple(shape), dtype=torch.uint8)
    for value, channel in enumerate(probabilities):
        native = torch.nn.functional.interpolate(
            channel[None, None], size=tuple(shape), mode="trilinear", align_corners=False
        )[0, 0]
        better = native > best
        best = torch.where(better, native, best)
        labels[better] = value
    answer: NDArray[np.uint8] = labels.numpy()
    return answer
