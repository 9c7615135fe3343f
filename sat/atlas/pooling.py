"""Mean of the encoder's output over a class's region, at one scale or at all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from evaluation.training.settings import Triple


def scale_masks(masks: Tensor, strides: Sequence[Triple]) -> list[Tensor]:
    """Masks at the resolution of every encoder stage.

    Max-pooling keeps every region alive down to the bottleneck: one voxel of a class marks the
    coarse voxel around it (pre-training code; the paper is silent).

    Args:
        masks: (R, X, Y, Z) bool; the sides are multiples of the total stride.
        strides: stride of each stage along x, y, z.

    Returns:
        One (R, x, y, z) float32 tensor of zeros and ones for each stage.
    """
    current = masks.float().unsqueeze(1)
    found = []
    for stride in strides:
        if stride != (1, 1, 1):
            current = torch.nn.functional.max_pool3d(current, stride, stride)
        found.append(current.squeeze(1))
    return found


def pool_regions(scales: Sequence[Tensor], masks: Sequence[Tensor], sample: Tensor) -> Tensor:
    """Mean feature of every region, the scales side by side.

    Args:
        scales: encoder outputs (B, C_s, x, y, z).
        masks: the same scales' masks (R, x, y, z), none of them empty.
        sample: (R,) which of the B crops a region lies in.

    Returns:
        (R, sum of C_s) float32.
    """
    parts = []
    # Sums over whole crops: not in half precision.
    with torch.autocast(sample.device.type, enabled=False):
        for features, mask in zip(scales, masks, strict=True):
            flat, weights = features.float().flatten(2), mask.flatten(1)
            pooled = flat.new_zeros(len(weights), flat.shape[1])
            # Crop by crop: features are never copied for each of their regions.
            for crop in range(len(flat)):
                chosen = (sample == crop).nonzero().squeeze(1)
                pooled = pooled.index_copy(0, chosen, weights[chosen] @ flat[crop].T)
            parts.append(pooled / weights.sum(1, keepdim=True))
    return torch.cat(parts, dim=1)
