"""The U-Net of SAT-Nano: encoder and decoder with one feature vector for each voxel.

The module tree carries the names of the first public release (`stages.0.0.convs.0.conv`), so
that its weights load without renaming anything but second names of the same tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from evaluation.training.settings import Triple
from sat.config import NetworkSizes

LEAKY_SLOPE = 0.01
SLAB_VALUES = 1 << 22


def convolve_in_slabs(x: Tensor, conv: nn.Conv3d) -> Tensor:
    """The convolution of `conv` as matrix products over slabs along x.

    torch has no fast float64 3D convolution on the CPU: it unfolds the whole volume 27-fold into
    one buffer of gigabytes, mostly spent in fresh memory pages. Slabs that fit the cache are
    several times faster. Used for conformance in double precision, never in training.
    """
    padded = nn.functional.pad(x, (1, 1) * 3)
    for axis, stride in enumerate(conv.stride, start=2):
        padded = padded.unfold(axis, 3, stride)
    batch, channels, size_x, size_y, size_z = padded.shape[:5]
    weight = conv.weight.flatten(1)
    slab = max(1, SLAB_VALUES // (channels * 27 * size_y * size_z))
    out = x.new_empty(batch, len(weight), size_x, size_y, size_z)
    for sample, result in zip(padded, out, strict=True):
        for start in range(0, size_x, slab):
            part = sample[:, start : start + slab].permute(0, 4, 5, 6, 1, 2, 3)
            columns = part.reshape(channels * 27, -1)
            answer = weight @ columns
            result[:, start : start + slab] = answer.view(len(weight), -1, size_y, size_z)
    if conv.bias is not None:
        out += conv.bias.view(-1, 1, 1, 1)
    return out


class ConvBlock(nn.Module):
    """3x3x3 convolution with bias, instance norm (affine, eps 1e-5), leaky ReLU 0.01.

    The norm takes the bias out again, so its gradient is nothing but rounding, which AdamW would
    blow up to whole steps. It stays in the parameter count, frozen.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Triple) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1)
        if self.conv.bias is not None:
            self.conv.bias.requires_grad_(False)
        self.norm = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, X, Y, Z) to (B, out, X / stride, Y / stride, Z / stride)."""
        slow = x.dtype == torch.float64 and x.device.type == "cpu" and not torch.is_grad_enabled()
        out = convolve_in_slabs(x, self.conv) if slow else self.conv(x)
        return nn.functional.leaky_relu(self.norm(out), LEAKY_SLOPE, inplace=True)


class ConvStage(nn.Module):
    """Two blocks; the first one carries the stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: Triple) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvBlock(in_channels, out_channels, stride),
            ConvBlock(out_channels, out_channels, (1, 1, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, X, Y, Z) to (B, out, X / stride, Y / stride, Z / stride)."""
        out: Tensor = self.convs(x)
        return out


class Encoder(nn.Module):
    """Stages from the full resolution down to the bottleneck."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        inputs = (sizes.in_channels, *sizes.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(ConvStage(i, o, stride))
            for i, o, stride in zip(inputs, sizes.widths, sizes.strides, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of every stage, the full resolution first."""
        scales = []
        for stage in self.stages:
            x = stage(x)
            scales.append(x)
        return scales


class Decoder(nn.Module):
    """Transposed convolutions (kernel = stride), concatenated skips, two blocks a stage."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        below, above = sizes.widths[:0:-1], sizes.widths[-2::-1]
        self.stages = nn.ModuleList(ConvStage(2 * w, w, (1, 1, 1)) for w in above)
        self.transpconvs = nn.ModuleList(
            nn.ConvTranspose3d(b, a, stride, stride)
            for b, a, stride in zip(below, above, sizes.strides[:0:-1], strict=True)
        )

    def forward(self, scales: list[Tensor], kept: int = 1) -> list[Tensor]:
        """All scales of the encoder to the last `kept` stages' features, full resolution first.

        The first has shape (B, widths[0], X, Y, Z), the next (B, widths[1], X / 2, ...).
        """
        x = scales[-1]
        features: list[Tensor] = []
        for up, stage, skip in zip(self.transpconvs, self.stages, scales[-2::-1], strict=True):
            x = stage(torch.cat((up(x), skip), dim=1))
            features = [x, *features[: kept - 1]]
        return features


class BackboneOutput(NamedTuple):
    """What the backbone makes of an image.

    Attributes:
        pixels: (B, d', X, Y, Z), one vector for each voxel.
        scales: the output of every encoder stage, the full resolution first.
        coarse: features of the decoder stages before the last one, the finest first.
    """

    pixels: Tensor
    scales: list[Tensor]
    coarse: list[Tensor]


class Backbone(nn.Module):
    """Encoder, decoder and, where the preset asks for it, a signed linear voxel projection."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)
        self.pixel_projection = (
            nn.Conv3d(sizes.widths[0], sizes.pixel_width, 1) if sizes.pixel_projection else None
        )
        self.apply(_he)

    def forward(self, image: Tensor, n_coarse: int = 0) -> BackboneOutput:
        """Image (B, C, X, Y, Z) to features, with those of `n_coarse` earlier decoder stages."""
        scales = self.encoder(image)
        pixels, *coarse = self.decoder(scales, kept=1 + n_coarse)
        if self.pixel_projection is not None:
            pixels = self.pixel_projection(pixels)
        return BackboneOutput(pixels, scales, coarse)


def _he(module: nn.Module) -> None:
    """He initialisation for the slope of the leaky ReLU, zero biases (sat released code)."""
    if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
