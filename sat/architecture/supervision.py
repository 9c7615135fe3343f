"""Deep supervision of later releases: up to three coarser decoder stages are trained, too.

The paper and the first release have the full resolution alone. A prediction never uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sat.config import NetworkSizes

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
