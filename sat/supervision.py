"""Deep supervision of later releases: coarser decoder stages are trained to answer, too.

The full resolution and up to three coarser scales weigh 1, 1/2, 1/4, 1/8, brought to a sum of 1.
The paper and the first release have the full resolution alone. A prediction never uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sat.config import Loss, NetworkSizes
from sat.losses import LossParts, segmentation_loss

MOST_SCALES = 3


class CoarseHeads(nn.Module):
    """A mask head for each supervised coarser scale, the finest first.

    Hidden widths grow with the scale: 256, 384, 512 where the mask head of the full resolution
    has 256. In the released sizes 1,082,944 parameters.
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        channels = sizes.widths[1:-1][:MOST_SCALES]
        hidden = [sizes.mask_hidden * (2 + i) // 2 for i in range(len(channels))]
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(sizes.query_width, h),
                nn.GELU(),
                nn.Linear(h, c),
                nn.GELU() if sizes.mask_output == "gelu" else nn.Identity(),
            )
            for h, c in zip(hidden, channels, strict=True)
        )

    def forward(self, answers: Tensor, coarse: list[Tensor]) -> list[Tensor]:
        """Answers (B, N, d) and features (B, c, x, y, z) to logits (B, N, x, y, z) of each."""
        return [
            dot_products(head(answers), features)
            for head, features in zip(self.heads, coarse, strict=True)
        ]


def dot_products(kernels: Tensor, features: Tensor) -> Tensor:
    """Kernels (B, N, c) with the features (B, c, X, Y, Z) of each voxel: (B, N, X, Y, Z)."""
    products = torch.bmm(kernels, features.flatten(2))
    return products.view(*kernels.shape[:2], *features.shape[2:])


def supervised_loss(
    outputs: Tensor | tuple[Tensor, ...], targets: Tensor, valid: Tensor, settings: Loss
) -> tuple[Tensor, LossParts]:
    """Logits of the full resolution and the loss of everything that a network answered.

    Args:
        outputs: logits (B, P, X, Y, Z), or a tuple of them with coarser ones behind.
        targets: (B, P, X, Y, Z), 0 or 1; a coarser scale takes the nearest voxel's.
        valid: (B, P), see `segmentation_loss`.
        settings: form of the loss, the same at all scales.
    """
    if isinstance(outputs, Tensor):
        return outputs, segmentation_loss(outputs, targets, valid, settings)
    total = sum(0.5**i for i in range(len(outputs)))
    weighted = []
    for i, logits in enumerate(outputs):
        shape = logits.shape[2:]
        nearest = (
            targets
            if shape == targets.shape[2:]
            else nn.functional.interpolate(targets.float(), shape, mode="nearest")
        )
        parts = segmentation_loss(logits, nearest, valid, settings)
        weighted.append([part * (0.5**i / total) for part in parts])
    summed = (torch.stack(scales).sum(0) for scales in zip(*weighted, strict=True))
    return outputs[0], LossParts(*summed)
