"""The queries' memory of later releases: all encoder stages, not the bottleneck alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evaluation.training.settings import Triple
from sat.config import NetworkSizes


class MultiScaleMemory(nn.Module):
    """Every stage averaged onto the bottleneck's grid, concatenated and projected.

    In the released sizes 64 + 64 + 128 + 256 + 512 + 768 = 1,792 channels go through two linear
    layers, each with a GELU, to 768: 1,967,616 parameters.
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self._cells = _cells(sizes)
        self.projection = nn.Sequential(
            nn.Linear(sum(sizes.widths), sizes.widths[-1]),
            nn.GELU(),
            nn.Linear(sizes.widths[-1], sizes.query_width),
            nn.GELU(),
        )

    def forward(self, scales: list[Tensor]) -> Tensor:
        """Stages (B, w, X, Y, Z), the full resolution first, to tokens (B, T, d)."""
        pooled = [
            nn.functional.avg_pool3d(scale, cell).flatten(2)
            for scale, cell in zip(scales, self._cells, strict=True)
        ]
        tokens: Tensor = self.projection(torch.cat(pooled, dim=1).transpose(1, 2))
        return tokens


def _cells(sizes: NetworkSizes) -> list[Triple]:
    """How many voxels of each stage, along each axis, lie in one voxel of the bottleneck."""
    cells = [(1, 1, 1)]
    for a, b, c in sizes.strides[:0:-1]:
        x, y, z = cells[0]
        cells.insert(0, (a * x, b * y, c * z))
    return cells
