"""Sliding windows: where they lie, how much each voxel of them counts, and the walk over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from evaluation.training.grid import triple
from evaluation.training.settings import Inference, Triple

# Sigma is an eighth of the window (released code); the smallest weight stays above zero so that
# every voxel keeps an answer.
SIGMA_PART = 8.0
SMALLEST_WEIGHT = 1e-4


class Windows:
    """A walk over the windows of a volume, some at a time and as often as wanted.

    Use it as a context manager: a walk of a model's own may hold files.

    Args:
        volume: (X, Y, Z) float32, at least as large as the window.
        window: size of a window in voxels.
        inference: overlap, and how many windows at once.
        device: where the windows go.
    """

    def __init__(
        self, volume: Tensor, window: Triple, inference: Inference, device: torch.device
    ) -> None:
        self.corners = window_corners(triple(volume.shape), window, inference.overlap)
        self._volume, self._window, self._device = volume, window, device
        self._batch = inference.window_batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __iter__(self) -> Iterator[tuple[list[Triple], Any]]:
        """Corners of some windows, and what `SegmentationModel.answers` takes of them."""
        for numbers in self._batches():
            yield [self.corners[n] for n in numbers], self._images(numbers)

    def _batches(self) -> Iterator[Sequence[int]]:
        for start in range(0, len(self.corners), self._batch):
            yield range(start, min(start + self._batch, len(self.corners)))

    def _images(self, numbers: Sequence[int]) -> Tensor:
        """Windows (B, 1, X, Y, Z) by their numbers."""
        x, y, z = self._window
        windows = [
            self._volume[a : a + x, b : b + y, c : c + z]
            for a, b, c in (self.corners[n] for n in numbers)
        ]
        return torch.stack(windows)[:, None].to(self._device)


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis; the last one is moved back to the border."""
    if size <= window:
        return [0]
    step = max(1, math.floor(window * (1 - overlap)))
    starts = list(range(0, size - window, step))
    return [*starts, size - window]


def window_corners(shape: Triple, window: Triple, overlap: float) -> list[Triple]:
    """First voxel of every window in a volume that is at least as large as the window."""
    x, y, z = (window_starts(n, w, overlap) for n, w in zip(shape, window, strict=True))
    return list(itertools.product(x, y, z))


def window_weights(window: Triple, blending: str) -> Tensor:
    """Weight (X, Y, Z) of each voxel of a window, float32, largest 1."""
    if blending == "uniform":
        return torch.ones(window)
    weights = torch.ones(window, dtype=torch.float64)
    for axis, size in enumerate(window):
        distance = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / (size / SIGMA_PART)
        shape = [1, 1, 1]
        shape[axis] = size
        weights = weights * torch.exp(-0.5 * distance.square()).view(shape)
    return (weights / weights.max()).clamp(min=SMALLEST_WEIGHT).float()


def total_weights(shape: Triple, corners: list[Triple], weights: Tensor) -> Tensor:
    """Sum of the weights of all windows at each voxel (X, Y, Z)."""
    total = torch.zeros(shape)
    x, y, z = weights.shape
    for a, b, c in corners:
        total[a : a + x, b : b + y, c : c + z] += weights
    return total


def prompts_at_once(
    settings: Inference, grid_voxels: int, window_voxels: int, maps_per_prompt: int
) -> int:
    """How many prompts fit the memory budget: each has float32 maps of the grid and of windows."""
    bytes_each = 4 * (3 * grid_voxels + maps_per_prompt * settings.window_batch * window_voxels)
    return max(1, (settings.memory_mib << 20) // bytes_each)
