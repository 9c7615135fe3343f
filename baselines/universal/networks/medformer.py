"""MedFormer: convolutions at the two fine resolutions, bidirectional attention at the coarse ones.

Five resolutions, 1x to 16x. Each attention stage of the encoder makes a semantic map of 64 tokens,
which its blocks update together with the voxels; the three maps are fused and serve the decoder.
`MedFormerBody` has no output: `MedFormer` adds one, Hermes-M compares features with prototypes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.universal.networks.attention import MLP_NORM_EPS
from baselines.universal.networks.bidirectional import (
    BidirectionalBlock,
    PatchMerging,
    SemanticMap,
)
from baselines.universal.networks.map_fusion import MapFusion
from baselines.universal.networks.priors import BodyAnswer
from baselines.universal.networks.resunet import ResidualBlock, Stem, upsampled
from baselines.universal.networks.sizes import MedFormerSizes

STRIDE = 16
COARSE_STRIDE = 4
_FUSION_EPS = 1e-5  # of the map fusion's LayerNorms in plain MedFormer


class AttentionStage(nn.ModuleList):
    """The B-MHA blocks of a stage.

    Args:
        channels: of the feature that comes in.
        width: of the map and of what comes out.
        blocks: number of blocks.
        with_priors: see `MedFormerBody`.
        last: the tokens' update in the last block is not projected any more.
    """

    def __init__(
        self, channels: int, width: int, blocks: int, *, with_priors: bool, last: bool = False
    ) -> None:
        super().__init__(
            BidirectionalBlock(
                width if block else channels,
                width,
                layer_norm=with_priors,
                project_tokens=not last or block < blocks - 1,
            )
            for block in range(blocks)
        )

    def forward(
        self, feature: Tensor, semantic: Tensor, priors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Feature, map and posteriors of the stage.

        Args:
            feature: (B, channels, X, Y, Z).
            semantic: the map, (B, T, width).
            priors: (B, n, width), appended to the map within this stage; None for no token.
        """
        tokens = semantic if priors is None else torch.cat([semantic, priors], dim=1)
        for block in self:
            feature, tokens = block(feature, tokens)
        return feature, tokens[:, : semantic.shape[1]], tokens[:, semantic.shape[1] :]


class MedFormerBody(nn.Module):
    """Encoder, map fusion and decoder.

    Args:
        sizes: of the network.
        with_priors: the norms of Hermes-M: tokens pass a LayerNorm in each block, the LayerNorms
            of the map fusion have eps 1e-4. Otherwise the map is normalised without weights.
    """

    def __init__(self, sizes: MedFormerSizes, *, with_priors: bool = False) -> None:
        super().__init__()
        w1, w2, w4, w8, w16 = sizes.widths
        self.token_widths: Sequence[int] = (w4, w8, w16, w8, w4)
        self.width, self.coarse_width = w1, w4
        self.stem = Stem(w1)
        self.merging = nn.ModuleList(map(PatchMerging, sizes.widths[:-1], sizes.widths[1:]))
        self.encoder_2x = nn.Sequential(ResidualBlock(w2, w2), ResidualBlock(w2, w2))
        self.maps = nn.ModuleList(SemanticMap(w, sizes.map_tokens) for w in (w4, w8, w16))
        self.encoder = nn.ModuleList(
            AttentionStage(w, w, blocks, with_priors=with_priors)
            for w, blocks in zip((w4, w8, w16), sizes.encoder_blocks, strict=True)
        )
        eps = MLP_NORM_EPS if with_priors else _FUSION_EPS
        self.map_fusion = MapFusion((w4, w8, w16), sizes.fusion_width, sizes.fusion_layers, eps)
        self.map_reduction = nn.ModuleList(
            [nn.Linear(w16 + w8, w8, bias=False), nn.Linear(w8 + w4, w4, bias=False)]
        )
        blocks_8x, blocks_4x = sizes.decoder_blocks
        self.decoder = nn.ModuleList(
            [
                AttentionStage(w16 + w8, w8, blocks_8x, with_priors=with_priors),
                AttentionStage(w8 + w4, w4, blocks_4x, with_priors=with_priors, last=True),
            ]
        )
        self.decoder_2x = nn.Sequential(ResidualBlock(w4 + w2, w2), ResidualBlock(w2, w2))
        self.decoder_1x = nn.Sequential(ResidualBlock(w2 + w1, w1), ResidualBlock(w1, w1))

    def forward(self, image: Tensor, priors: Sequence[Tensor] = ()) -> BodyAnswer:
        """Features of an image, and the posteriors of the five attention stages.

        Patch merging needs multiples of 16. To any other size zeros, the mean of a normalised
        image, are added behind the image, and features end where it ends.

        Args:
            image: (B, 1, X, Y, Z), at least one axis longer than 16.
            priors: (B, n, C) for each attention stage; none for plain MedFormer, whose
                posteriors have no tokens.
        """
        given: Iterator[Tensor | None] = iter(priors or repeat(None))
        posteriors: list[Tensor] = []
        maps: list[Tensor] = []
        skips = [self.stem(_padded(image))]
        skips.append(self.encoder_2x(self.merging[0](skips[-1])))
        for merging, fresh_map, stage in zip(
            self.merging[1:], self.maps, self.encoder, strict=True
        ):
            merged = merging(skips[-1])
            feature, semantic, posterior = stage(merged, fresh_map(merged), next(given))
            skips.append(feature)
            maps.append(semantic)
            posteriors.append(posterior)
        maps = self.map_fusion(maps)
        feature, semantic = skips.pop(), maps.pop()
        for reduction, stage in zip(self.map_reduction, self.decoder, strict=True):
            semantic = reduction(torch.cat([semantic, maps.pop()], dim=2))
            feature, semantic, posterior = stage(
                _joined(feature, skips.pop()), semantic, next(given)
            )
            posteriors.append(posterior)
        fine = self.decoder_2x(_joined(feature, skips.pop()))
        fine = self.decoder_1x(_joined(fine, skips.pop()))
        return BodyAnswer(
            _cropped(fine, image, 1), _cropped(feature, image, COARSE_STRIDE), posteriors
        )


class MedFormerAnswer(NamedTuple):
    """All that the network says of a batch.

    Attributes:
        logits: (B, outputs, X, Y, Z).
        auxiliary: the same from the 4x decoder, upsampled; None without auxiliary head.
    """

    logits: Tensor
    auxiliary: Tensor | None


class MedFormer(nn.Module):
    """The network of one dataset: one output for each label.

    Args:
        outputs: channels of the last convolution; with exclusive labels the first is background.
        sizes: of the network.
        auxiliary: a second head on the 4x decoder, for the training.
    """

    def __init__(
        self, outputs: int, sizes: MedFormerSizes | None = None, *, auxiliary: bool = True
    ) -> None:
        super().__init__()
        self.body = MedFormerBody(sizes or MedFormerSizes())
        self.head = nn.Conv3d(self.body.width, outputs, 1)
        self.auxiliary_head = nn.Conv3d(self.body.coarse_width, outputs, 1) if auxiliary else None

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 1, X, Y, Z) to logits (B, outputs, X, Y, Z)."""
        logits: Tensor = self.head(self.body(image).feature)
        return logits

    def answer(self, image: Tensor) -> MedFormerAnswer:
        """Everything at once, for an image (B, 1, X, Y, Z)."""
        seen = self.body(image)
        auxiliary = None
        if self.auxiliary_head is not None:
            auxiliary = upsampled(self.auxiliary_head(seen.coarse), image)
        return MedFormerAnswer(self.head(seen.feature), auxiliary)


def _joined(below: Tensor, skip: Tensor) -> Tensor:
    """The upsampled feature from below, then the skip's, along the channels."""
    return torch.cat([upsampled(below, skip), skip], dim=1)


def _padded(image: Tensor) -> Tensor:
    """With zeros behind it, up to the next multiple of 16 on every axis."""
    behind = [amount for size in reversed(image.shape[2:]) for amount in (0, -size % STRIDE)]
    return functional.pad(image, behind) if any(behind) else image


def _cropped(feature: Tensor, image: Tensor, stride: int) -> Tensor:
    """The part of a feature that belongs to the image, at one voxel for `stride` of the image."""
    x, y, z = (-(-size // stride) for size in image.shape[2:])
    return feature[:, :, :x, :y, :z]
