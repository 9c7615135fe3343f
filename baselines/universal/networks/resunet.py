"""The residual U-Net that most universal systems stand on: encoder, decoder, and the plain network.

Five resolutions, every step halves all three axes, every kernel is 3x3x3, no convolution but the
last has a bias. Sizes need not be multiples of 16: pooling floors, upsampling goes to the size of
the skip. Start values are torch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.universal.networks.sizes import WIDTHS

NORM_EPS = 1e-4


class PreActivated(nn.Module):
    """Instance norm without weights, ReLU, convolution without bias (3x3x3 by default)."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, groups: int = 1) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(channels, eps=NORM_EPS)
        self.conv = nn.Conv3d(
            channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
        )

    def active(self, feature: Tensor) -> Tensor:
        """What the convolution reads: (B, channels, X, Y, Z), normalised, not negative."""
        return functional.relu(self.norm(feature))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, X, Y, Z) to (B, out_channels, X, Y, Z)."""
        answer: Tensor = self.conv(self.active(feature))
        return answer


class ResidualBlock(nn.Module):
    """Two pre-activated convolutions and a shortcut, itself one where the width changes."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = PreActivated(channels, out_channels)
        self.conv2 = PreActivated(out_channels, out_channels)
        same = channels == out_channels
        self.shortcut = nn.Identity() if same else PreActivated(channels, out_channels)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, X, Y, Z) to (B, out_channels, X, Y, Z)."""
        if isinstance(self.shortcut, PreActivated):
            inner, beside = together(feature, self.conv1, self.shortcut)
        else:
            inner, beside = self.conv1(feature), feature
        answer: Tensor = self.conv2(inner) + beside
        return answer


def together(feature: Tensor, one: PreActivated, other: PreActivated) -> tuple[Tensor, ...]:
    """What two of the same kernel make of one feature: norm, ReLU and reading of it done once."""
    weight = torch.cat([one.conv.weight, other.conv.weight])
    found = functional.conv3d(one.active(feature), weight, padding=one.conv.padding)
    return torch.split(found, [one.conv.out_channels, other.conv.out_channels], dim=1)


class Stem(nn.Sequential):
    """First convolution and one residual block, at full resolution."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv3d(1, width, 3, padding=1, bias=False), ResidualBlock(width, width))


class Encoder(nn.Module):
    """Stem and four stages of max pooling and two residual blocks.

    Attributes:
        stem: at full resolution.
        stages: 2x, 4x, 8x, 16x.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.stem = Stem(widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(nn.MaxPool3d(2), ResidualBlock(above, width), ResidualBlock(width, width))
            for above, width in pairwise(widths)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, 1, X, Y, Z) to one feature for each resolution, the finest first."""
        features = [self.stem(image)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class DecoderStage(nn.Module):
    """Two residual blocks on the skip and the upsampled feature from below, in this order."""

    def __init__(self, below: int, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(width + below, width), ResidualBlock(width, width)
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """(B, below, ...) and (B, width, X, Y, Z) to (B, width, X, Y, Z)."""
        answer: Tensor = self.blocks(torch.cat([skip, upsampled(below, skip)], dim=1))
        return answer


class Decoder(nn.Module):
    """Four stages upwards.

    Args:
        widths: of the encoder.
        extra: channels that a system appends to the encoder's deepest feature.

    Attributes:
        stages: 8x, 4x, 2x, 1x.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, extra: int = 0) -> None:
        super().__init__()
        below = [widths[-1] + extra, *widths[-2:0:-1]]
        self.stages = nn.ModuleList(map(DecoderStage, below, widths[-2::-1]))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features, finest first, to (B, width, X, Y, Z) at full resolution."""
        *skips, feature = features
        for stage, skip in zip(self.stages, reversed(skips), strict=True):
            feature = stage(feature, skip)
        return feature


class ResUNet(nn.Module):
    """The network of one dataset: no priors, no other dataset's classes.

    Args:
        outputs: channels of the last convolution; with exclusive labels the first is background.
        widths: channels of the five resolutions.
    """

    def __init__(self, outputs: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)
        self.head = nn.Conv3d(widths[0], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 1, X, Y, Z) to logits (B, outputs, X, Y, Z)."""
        logits: Tensor = self.head(self.decoder(self.encoder(image)))
        return logits


def upsampled(feature: Tensor, like: Tensor) -> Tensor:
    """Trilinear, corners aligned, to the spatial size of another feature."""
    return functional.interpolate(feature, like.shape[2:], mode="trilinear", align_corners=True)
