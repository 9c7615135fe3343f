"""SAT-Nano's network: image features and text queries in, one logit map for each query out.

`encode` sees the image only and `decode` the queries, so that the features of a window are
computed once whatever the number of prompts. There is no attention among queries: each prompt's
answer is independent of the others (paper, section 3.3, as in the first released code).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sat.blocks import Backbone, BackboneOutput
from sat.config import NetworkSizes
from sat.multi_scale import MultiScaleMemory
from sat.supervision import CoarseHeads, dot_products

POSITION_BASE = 10000.0


class Features(NamedTuple):
    """What `encode` makes of an image.

    Attributes:
        pixels: (B, d', X, Y, Z), one vector for each voxel.
        tokens: (B, T, d), the queries' memory on the bottleneck's grid, in storage order.
        positions: (T, d), the fixed position code of the tokens.
    """

    pixels: Tensor
    tokens: Tensor
    positions: Tensor


def position_code(shape: tuple[int, int, int], width: int) -> Tensor:
    """Fixed sinusoids of three axes, float64, shape (x * y * z, width).

    Each axis has an equal, even number of channels (256 of 768) in storage order; sine and
    cosine alternate at angles position * 10000^(-2j / channels). If three even parts exceed the
    width, the last channels are cut.
    """
    channels = 2 * -(-width // 6)
    rates = POSITION_BASE ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    parts = []
    for axis, size in enumerate(shape):
        angles = torch.arange(size, dtype=torch.float64)[:, None] * rates
        code = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
        view = [1, 1, 1, channels]
        view[axis] = size
        parts.append(code.view(view).expand(*shape, channels))
    return torch.cat(parts, dim=-1).flatten(0, 2)[:, :width]


class QueryLayer(nn.Module):
    """Pre-norm cross-attention to the image tokens, then a two-layer perceptron.

    `norm1` belonged to a self-attention that the released network no longer has. It stays in the
    parameter count, frozen and unused.
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        width = sizes.query_width
        self.multihead_attn = nn.MultiheadAttention(
            width, sizes.heads, dropout=sizes.dropout, batch_first=True
        )
        self.linear1 = nn.Linear(width, sizes.mlp_width)
        self.linear2 = nn.Linear(sizes.mlp_width, width)
        self.norm1 = nn.LayerNorm(width).requires_grad_(False)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries (B, N, d), keys and values (B, T, d); returns (B, N, d)."""
        answer, _ = self.multihead_attn(self.norm2(queries), keys, values, need_weights=False)
        queries = queries + self.dropout(answer)
        hidden = self.dropout(torch.relu(self.linear1(self.norm3(queries))))
        out: Tensor = queries + self.dropout(self.linear2(hidden))
        return out


class QueryDecoder(nn.Module):
    """All query layers and the last norm. Position codes go to the keys, not to the values."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(QueryLayer(sizes) for _ in range(sizes.query_layers))
        self.norm = nn.LayerNorm(sizes.query_width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, queries: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
        """Queries (B, N, d), tokens (B, T, d), positions (T, d); returns (B, N, d)."""
        keys = tokens + positions
        for layer in self.layers:
            queries = layer(queries, keys, tokens)
        normalised: Tensor = self.norm(queries)
        return normalised


class SatNetwork(nn.Module):
    """Vision backbone, query decoder and mask head; the text encoder is not part of it.

    With the preset `nano` it has 107,227,008 parameters, the paper's 107 M; with the multi-scale
    memory of later releases 109,194,624, and with their deep supervision on top 110,277,568.
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = Backbone(sizes)
        self.transformer_decoder = QueryDecoder(sizes)
        self.transformer_decoder_mlp = nn.Sequential(
            nn.Linear(sizes.query_width, sizes.mask_hidden),
            nn.GELU(),
            nn.Linear(sizes.mask_hidden, sizes.pixel_width),
            nn.GELU() if sizes.mask_output == "gelu" else nn.Identity(),
        )
        self.multi_scale = MultiScaleMemory(sizes) if sizes.memory == "multi-scale" else None
        self.coarse_heads = CoarseHeads(sizes) if sizes.deep_supervision else None

    def encode(self, image: Tensor) -> Features:
        """Features of an image (B, 1, X, Y, Z) whose sides are multiples of the total stride."""
        return self._features(self.backbone(self._input(image)))

    def decode(self, features: Features, queries: Tensor) -> Tensor:
        """Logits (B, N, X, Y, Z) of queries (B, N, d) or, for all images alike, (N, d)."""
        if queries.dim() == 2:
            queries = queries.expand(len(features.tokens), -1, -1)
        return self._logits(features, self._answers(features, queries))

    def forward(self, image: Tensor, queries: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Image (B, 1, X, Y, Z) and queries (B, N, d) to logits (B, N, X, Y, Z).

        While a network with deep supervision is trained, logits of the coarser scales follow
        those of the full resolution in a tuple.
        """
        if self.coarse_heads is None or not self.training:
            return self.decode(self.encode(image), queries)
        found = self.backbone(self._input(image), n_coarse=len(self.coarse_heads.heads))
        features = self._features(found)
        answers = self._answers(features, queries)
        return self._logits(features, answers), *self.coarse_heads(answers, found.coarse)

    def _input(self, image: Tensor) -> Tensor:
        return image.expand(-1, self.sizes.in_channels, -1, -1, -1)

    def _features(self, found: BackboneOutput) -> Features:
        bottleneck = found.scales[-1]
        x, y, z = bottleneck.shape[2:]
        positions = position_code((x, y, z), self.sizes.query_width).to(bottleneck)
        tokens = (
            bottleneck.flatten(2).transpose(1, 2)
            if self.multi_scale is None
            else self.multi_scale(found.scales)
        )
        return Features(found.pixels, tokens, positions)

    def _answers(self, features: Features, queries: Tensor) -> Tensor:
        answers: Tensor = self.transformer_decoder(queries, features.tokens, features.positions)
        return answers

    def _logits(self, features: Features, answers: Tensor) -> Tensor:
        return dot_products(self.transformer_decoder_mlp(answers), features.pixels)
