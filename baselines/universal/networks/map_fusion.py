"""MedFormer's map fusion: the semantic maps of all encoder stages attend to each other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, cat, nn


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and pre-norm MLP (GELU), each with a residual; no dropout.

    Query, key and value are thirds of one projection without bias. Channel
    `head * head width + d` belongs to place `d` of that head.
    """

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width, eps=eps),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, width), of the same shape."""
        joint = self.query_key_value(self.attention_norm(tokens))
        parts = (part.unflatten(2, (self.heads, -1)) for part in joint.chunk(3, dim=2))
        query, key, value = (part.transpose(1, 2) for part in parts)
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.attention_out(seen.transpose(1, 2).flatten(2))
        fused: Tensor = tokens + self.mlp(tokens)
        return fused


class MapFusion(nn.Module):
    """Projects the maps to one width, runs Transformer layers over all their tokens, and back.

    Args:
        widths: channels of each map.
        width: what all of them are projected to.
        heads, layers: of the Transformer.
        eps: of its LayerNorms.
    """

    def __init__(
        self, widths: Sequence[int], width: int, heads: int, layers: int, eps: float
    ) -> None:
        super().__init__()
        self.project_in = nn.ModuleList(nn.Linear(w, width, bias=False) for w in widths)
        self.layers = nn.Sequential(*(TransformerLayer(width, heads, eps) for _ in range(layers)))
        self.project_out = nn.ModuleList(nn.Linear(width, w, bias=False) for w in widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, T, C of its level), to fused maps of the same shapes."""
        inner = [project(one) for project, one in zip(self.project_in, maps, strict=True)]
        fused = self.layers(cat(inner, dim=1)).split([one.shape[1] for one in inner], dim=1)
        return [project(one) for project, one in zip(self.project_out, fused, strict=True)]
