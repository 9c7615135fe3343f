"""MedFormer: convolutions at the two fine resolutions, bidirectional attention at the coarse ones.

Five resolutions, 1x to 16x. Each attention stage of the encoder makes a semantic map of 64 tokens
which its blocks update together with the voxels; the three maps are fused and serve the decoder.
`MedFormerBody` has no output layer: `MedFormer` adds one, Hermes-M compares it with prototypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field
from torch import Tensor, cat, nn

from baselines.universal.networks.attention import BidirectionalBlock, PatchMerging, SemanticMap
from baselines.universal.networks.map_fusion import MapFusion
from baselines.universal.networks.residual import ResidualBlock
from evaluation.files.records import Record

STRIDE = 16
FUSION_EPS = 1e-5  # of the LayerNorms of plain MedFormer's map fusion; Hermes-M has 1e-4


class MedFormerSizes(Record):
    """Sizes of the network; the defaults make the one of 43.20 M weights."""

    widths: tuple[int, int, int, int, int] = Field(
        (32, 64, 128, 256, 320), description="channels at 1x, 2x, 4x, 8x, 16x"
    )
    encoder_blocks: tuple[int, int, int] = Field((2, 4, 8), description="B-MHA at 4x, 8x, 16x")
    decoder_blocks: tuple[int, int] = Field((4, 2), description="B-MHA at 8x, 4x")
    residual_blocks: int = Field(2, ge=1, description="of each stage at 1x and 2x")
    head_width: int = Field(32, ge=1, description="channels of an attention head")
    map_tokens: int = Field(64, ge=1, description="tokens of a semantic map")
    fusion_width: int = Field(320, ge=1, description="channels of the map fusion")
    fusion_layers: int = Field(2, ge=1, description="Transformer layers of the map fusion")

    @property
    def attention_widths(self) -> tuple[int, int, int, int, int]:
        """Channels of the attention stages: encoder 4x, 8x, 16x, decoder 8x, 4x."""
        return *self.widths[2:], self.widths[3], self.widths[2]


class MedFormerFeatures(NamedTuple):
    """What the body makes of an image.

    Attributes:
        fine: decoder feature at 1x, (B, widths[0], X, Y, Z).
        coarse: decoder feature at 4x, (B, widths[2], X / 4, Y / 4, Z / 4).
        posteriors: what became of the prior tokens, in the order of the stages; without priors
            tensors of no tokens.
    """

    fine: Tensor
    coarse: Tensor
    posteriors: list[Tensor]


class AttentionBlocks(nn.ModuleList):
    """The B-MHA blocks of a stage."""

    def __init__(
        self,
        channels: int,
        width: int,
        sizes: MedFormerSizes,
        n_blocks: int,
        *,
        layer_norm: bool,
        last: bool = False,
    ) -> None:
        super().__init__(
            BidirectionalBlock(
                width if block else channels,
                width,
                width // sizes.head_width,
                layer_norm=layer_norm,
                project_tokens=not (last and block == n_blocks - 1),
            )
            for block in range(n_blocks)
        )

    def forward(self, x: Tensor, semantic: Tensor, prior: Tensor | None) -> list[Tensor]:
        """Feature, map and posterior tokens of a stage.

        Args:
            x: (B, channels, X, Y, Z).
            semantic: the map, (B, tokens, width).
            prior: (B, n, width), appended to the map in this stage; None for none.
        """
        tokens = semantic if prior is None else cat((semantic, prior), dim=1)
        for block in self:
            x, tokens = block(x, tokens)
        size = semantic.shape[1]
        return [x, tokens[:, :size], tokens[:, size:]]


class MedFormerBody(nn.Module):
    """Encoder, map fusion and decoder.

    Args:
        sizes: sizes of the network.
        layer_norm: LayerNorm for map and tokens (Hermes-M) instead of a norm without weights.
        fusion_eps: eps of the LayerNorms in the map fusion.
    """

    def __init__(
        self, sizes: MedFormerSizes, *, layer_norm: bool = False, fusion_eps: float = FUSION_EPS
    ) -> None:
        super().__init__()
        w1, w2, w4, w8, w16 = sizes.widths

        def residual(channels: int, width: int) -> nn.Sequential:
            inputs = (channels, *(width,) * (sizes.residual_blocks - 1))
            return nn.Sequential(*(ResidualBlock(i, width) for i in inputs))

        self.stem = nn.Sequential(
            nn.Conv3d(1, w1, 3, padding=1, bias=False), ResidualBlock(w1, w1)
        )
        self.merging = nn.ModuleList(
            PatchMerging(i, o) for i, o in zip(sizes.widths[:-1], sizes.widths[1:], strict=True)
        )
        self.encoder_2x = residual(w2, w2)
        self.maps = nn.ModuleList(SemanticMap(w, sizes.map_tokens) for w in (w4, w8, w16))
        self.encoder = nn.ModuleList(
            AttentionBlocks(w, w, sizes, n, layer_norm=layer_norm)
            for w, n in zip((w4, w8, w16), sizes.encoder_blocks, strict=True)
        )
        self.map_fusion = MapFusion(
            (w4, w8, w16),
            sizes.fusion_width,
            sizes.fusion_width // sizes.head_width,
            sizes.fusion_layers,
            fusion_eps,
        )
        self.map_reduction = nn.ModuleList(
            nn.Linear(below + width, width, bias=False) for below, width in ((w16, w8), (w8, w4))
        )
        self.decoder = nn.ModuleList(
            AttentionBlocks(below + w, w, sizes, n, layer_norm=layer_norm, last=last)
            for below, w, n, last in zip(
                (w16, w8), (w8, w4), sizes.decoder_blocks, (False, True), strict=True
            )
        )
        self.decoder_2x = residual(w4 + w2, w2)
        self.decoder_1x = residual(w2 + w1, w1)

    def forward(self, image: Tensor, priors: Sequence[Tensor] = ()) -> MedFormerFeatures:
        """Features of an image, with the posterior tokens where there are priors.

        Args:
            image: (B, 1, X, Y, Z), sizes multiples of 16.
            priors: tokens (B, n, C) of encoder 4x, 8x, 16x, decoder 8x, 4x, or none.
        """
        given = iter(priors or [None] * 5)
        posteriors: list[Tensor] = []
        skips, maps = [self.stem(image)], []
        skips.append(self.encoder_2x(self.merging[0](skips[-1])))
        for merging, fresh_map, blocks in zip(
            self.merging[1:], self.maps, self.encoder, strict=True
        ):
            x = merging(skips[-1])
            x, semantic, posterior = blocks(x, fresh_map(x), next(given))
            skips.append(x)
            maps.append(semantic)
            posteriors.append(posterior)
        maps = self.map_fusion(maps)
        x, semantic = skips.pop(), maps.pop()
        for reduction, blocks in zip(self.map_reduction, self.decoder, strict=True):
            semantic = reduction(cat((semantic, maps.pop()), dim=2))
            x, semantic, posterior = blocks(joined(x, skips.pop()), semantic, next(given))
            posteriors.append(posterior)
        fine = self.decoder_2x(joined(x, skips.pop()))
        fine = self.decoder_1x(joined(fine, skips.pop()))
        return MedFormerFeatures(fine, x, posteriors)


class MedFormer(nn.Module):
    """MedFormer with one output channel for each label.

    Args:
        outputs: number of labels, background included.
        sizes: sizes of the network.
        auxiliary: whether there is a second output on the decoder's 4x feature, for training.
    """

    def __init__(
        self, outputs: int, sizes: MedFormerSizes | None = None, *, auxiliary: bool = False
    ) -> None:
        super().__init__()
        sizes = sizes or MedFormerSizes()
        self.body = MedFormerBody(sizes)
        self.output = nn.Conv3d(sizes.widths[0], outputs, 1)
        self.auxiliary_output = nn.Conv3d(sizes.widths[2], outputs, 1) if auxiliary else None

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, outputs, X, Y, Z) of an image (B, 1, X, Y, Z) of any size from 32 voxels."""
        logits: Tensor = self.output(self.body(padded(image)).fine)
        return cropped(logits, image)

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """The logits and, where there is an auxiliary output, its logits at the image's size."""
        features = self.body(padded(image))
        logits = [self.output(features.fine)]
        if self.auxiliary_output is not None:
            logits.append(enlarged(self.auxiliary_output(features.coarse), logits[0]))
        return [cropped(one, image) for one in logits]


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Trilinear upsampling of (B, C, X, Y, Z), corners aligned, to the size of `like`."""
    return nn.functional.interpolate(
        x, size=like.shape[2:], mode="trilinear", align_corners=True
    )


def joined(below: Tensor, skip: Tensor) -> Tensor:
    """The upsampled feature from below, then the skip's, along the channels."""
    return cat((enlarged(below, skip), skip), dim=1)


def padded(image: Tensor) -> Tensor:
    """The image with zeros (its mean) behind it, up to the next multiple of 16 on every axis."""
    behind = [amount for size in reversed(image.shape[2:]) for amount in (0, -size % STRIDE)]
    return nn.functional.pad(image, behind) if any(behind) else image


def cropped(logits: Tensor, image: Tensor) -> Tensor:
    """The part of the logits that belongs to the image, not to what was padded behind it."""
    x, y, z = image.shape[2:]
    return logits[:, :, :x, :y, :z]
