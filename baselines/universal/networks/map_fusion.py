"""MedFormer's map fusion: the semantic maps of all encoder stages attend to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.universal.networks.attention import ResidualMlp, attend, heads_of


class SelfAttention(nn.Module):
    """x + attention of norm(x) to itself; one projection to query, key and value, without bias."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.heads = heads_of(width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width), of the same shape."""
        query, key, value = self.query_key_value(self.norm(x)).chunk(3, dim=-1)
        answer: Tensor = self.out(attend(query, key, value, self.heads))
        return x + answer


class MapFusion(nn.Module):
    """Projects the maps to one width, runs Transformer layers over all their tokens, and back.

    Args:
        widths: channels of each map.
        width: what all of them are projected to; also the hidden width of the MLPs.
        layers: pairs of self-attention and MLP.
        eps: of their LayerNorms.
    """

    def __init__(self, widths: Sequence[int], width: int, layers: int, eps: float) -> None:
        super().__init__()
        self.project_in = nn.ModuleList(nn.Linear(w, width, bias=False) for w in widths)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(SelfAttention(width, eps), ResidualMlp(width, width, eps))
                for _ in range(layers)
            )
        )
        self.project_out = nn.ModuleList(nn.Linear(width, w, bias=False) for w in widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, T, C), each with the C of its level, to fused maps of the same shapes."""
        inner = [project(one) for project, one in zip(self.project_in, maps, strict=True)]
        fused = self.layers(torch.cat(inner, dim=1)).split([one.shape[1] for one in inner], dim=1)
        return [project(one) for project, one in zip(self.project_out, fused, strict=True)]
