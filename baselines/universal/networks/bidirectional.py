"""Bidirectional attention (B-MHA): voxels and a few tokens look at each other by the same scores.

MedFormer's tokens are a semantic map, 64 weighted sums of voxels. Hermes-M appends its priors to
them: this is the document's equation 4. Instance norms have no weights, but for squeeze-excitation
no convolution has a bias; sizes stay as they are, but for `PatchMerging`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.universal.networks.attention import heads_of
from baselines.universal.networks.resunet import NORM_EPS as CONV_EPS
from baselines.universal.networks.resunet import PreActivated

_EXPANSION = 4
_SQUEEZE = 4


class SeparableConv(nn.Sequential):
    """Depthwise 3x3x3, then 1x1x1 convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv3d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv3d(channels, out_channels, 1, bias=False),
        )


class PatchMerging(nn.Module):
    """Halves the resolution: space to channels, norm, separable convolution to `out_channels`."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(8 * channels)
        self.reduction = SeparableConv(8 * channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z), even sizes, to (B, out, X / 2, Y / 2, Z / 2)."""
        corners = [x[:, :, i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(corners, dim=1)))
        return merged


class SemanticMap(nn.Module):
    """A stage's fresh map: tokens that are sums of voxels, each by its own softmax of scores."""

    def __init__(self, channels: int, tokens: int) -> None:
        super().__init__()
        self.values = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.scores = nn.Conv3d(channels, tokens, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) to (B, tokens, C)."""
        weights = self.scores(x).flatten(2).softmax(dim=-1)
        return torch.einsum("btn,bcn->btc", weights, self.values(x).flatten(2))


class MapNorm(nn.Module):
    """Instance norm of the tokens, without weights: each channel over all tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, C), normalised along T."""
        return nn.functional.instance_norm(tokens.transpose(1, 2)).transpose(1, 2)


class BidirectionalAttention(nn.Module):
    """One score matrix between voxels and tokens, read along both of its sides.

    Query and key are the same projection on either side. A voxel is a mixture of token values
    (softmax over the tokens), a token a mixture of voxel values (softmax over the voxels).
    Channel `d * heads + head` belongs to place `d` of that head, for voxels and tokens alike.

    Args:
        channels: of the feature that comes in.
        width: of the tokens and of what comes out.
        project_tokens: whether the tokens' update passes a linear layer.
    """

    def __init__(self, channels: int, width: int, project_tokens: bool = True) -> None:
        super().__init__()
        self.heads = heads_of(width)
        self.scale = (width // self.heads) ** -0.5
        self.feature_in = SeparableConv(channels, 2 * width)
        self.feature_out = SeparableConv(width, width)
        self.tokens_in = nn.Linear(width, 2 * width, bias=False)
        self.tokens_out = nn.Linear(width, width, bias=False) if project_tokens else nn.Identity()

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Updates of the voxels, (B, width, X, Y, Z), and of the tokens, (B, T, width)."""
        voxel_query, voxel_value = self._split(self.feature_in(x).flatten(2))
        token_query, token_value = self._split(self.tokens_in(tokens).transpose(1, 2))
        scores = self.scale * torch.einsum("bdhn,bdht->bhnt", voxel_query, token_query)
        voxels = torch.einsum("bhnt,bdht->bdhn", scores.softmax(dim=3), token_value)
        updated = torch.einsum("bhnt,bdhn->bdht", scores.softmax(dim=2), voxel_value)
        voxels = voxels.flatten(1, 2).unflatten(2, x.shape[2:])
        return self.feature_out(voxels), self.tokens_out(updated.flatten(1, 2).transpose(1, 2))

    def _split(self, joint: Tensor) -> list[Tensor]:
        """Query and value, each (B, head width, heads, N), of a projection (B, 2 width, N)."""
        return [half.unflatten(1, (-1, self.heads)) for half in joint.chunk(2, dim=1)]


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate in 0..1, computed from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv3d(channels, channels // _SQUEEZE, 1),
            nn.ReLU(),
            nn.Conv3d(channels // _SQUEEZE, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z), of the same shape."""
        scaled: Tensor = x * self.gate(x.mean(dim=(2, 3, 4), keepdim=True))
        return scaled


class FeedForward(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, squeeze-excitation, reduction."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _EXPANSION * channels
        self.expand = PreActivated(channels, inner, kernel=1)
        self.depthwise = PreActivated(inner, inner, kernel=3, groups=inner)
        self.squeeze = SqueezeExcitation(inner)
        self.norm = nn.InstanceNorm3d(inner, eps=CONV_EPS)
        self.reduce = nn.Conv3d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z), of the same shape."""
        changed: Tensor = self.reduce(self.norm(self.squeeze(self.depthwise(self.expand(x)))))
        return x + changed


class BidirectionalBlock(nn.Module):
    """B-MHA of normalised voxels and tokens, and the voxels' feed-forward; each with a residual.

    Args:
        channels, width, project_tokens: see `BidirectionalAttention`.
        layer_norm: the tokens pass a LayerNorm (Hermes-M) instead of `MapNorm` (MedFormer).
    """

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        layer_norm: bool = False,
        project_tokens: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(channels)
        self.token_norm = nn.LayerNorm(width) if layer_norm else MapNorm()
        self.attention = BidirectionalAttention(channels, width, project_tokens)
        self.shortcut = (
            nn.Identity() if channels == width else PreActivated(channels, width, kernel=1)
        )
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels (B, channels, X, Y, Z) and tokens (B, T, width) to both with `width` channels."""
        voxels, updated = self.attention(self.norm(x), self.token_norm(tokens))
        return self.feed_forward(voxels + self.shortcut(x)), tokens + updated
