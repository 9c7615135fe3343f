"""Heads whose weights are generated for each image: three 1x1x1 convolutions of 8 channels.

DoDNet generates them from the image and the task, the CLIP-driven model from the image and the
text of a class. What is generated is one vector: the weights of the three convolutions (output
major, input minor), then their biases.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

CHANNELS = 8
_GROUPS = 16


class ImageFeatures(NamedTuple):
    """What a body that sees the image only makes of it, for as many tasks as wanted.

    Attributes:
        pixels: (B, C, X, Y, Z), what the heads read.
        vector: (B, D), what heads are generated from; None where they are not.
    """

    pixels: Tensor
    vector: Tensor | None = None


def generated_numbers(outputs: int) -> int:
    """Length of the vector of a head with so many outputs: 153 for one, 162 for two."""
    return sum(_sizes(outputs))


def dynamic_head(feature: Tensor, numbers: Tensor) -> Tensor:
    """Apply generated heads.

    Args:
        feature: (B, 8, X, Y, Z).
        numbers: (B, n) with n of `generated_numbers`: a head for each image; or (B, K, n): K heads
            for each image.

    Returns:
        Logits (B, outputs, X, Y, Z) or (B, K, outputs, X, Y, Z).
    """
    if numbers.dim() == 2:
        return dynamic_head(feature, numbers[:, None])[:, 0]
    count = numbers.shape[-1] - generated_numbers(0)
    outputs = count // (CHANNELS + 1)
    w1, w2, w3, b1, b2, b3 = numbers.split(_sizes(outputs), dim=-1)
    w1, w2, w3 = (weight.unflatten(-1, (-1, CHANNELS)) for weight in (w1, w2, w3))
    answer = torch.einsum("bkoi,bin->bkon", w1, feature.flatten(2)) + b1[..., None]
    answer = w2 @ answer.relu() + b2[..., None]
    answer = w3 @ answer.relu() + b3[..., None]
    logits: Tensor = answer.unflatten(-1, feature.shape[2:])
    return logits


def _sizes(outputs: int) -> list[int]:
    weights = [CHANNELS * CHANNELS, CHANNELS * CHANNELS, outputs * CHANNELS]
    return [*weights, CHANNELS, CHANNELS, outputs]


class Reduction(nn.Sequential):
    """The decoder's feature with 8 channels: group norm, ReLU, 1x1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(group_norm(channels), nn.ReLU(), nn.Conv3d(channels, CHANNELS, 1))


class ImageVector(nn.Module):
    """The deepest feature as one vector: group norm, ReLU, global mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, X, Y, Z) to (B, C)."""
        return torch.relu(self.norm(feature)).mean(dim=(2, 3, 4))


def group_norm(channels: int) -> nn.GroupNorm:
    """16 groups, or as many as divide a narrower feature."""
    return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
