"""Hermes: task and modality priors meet the image (the document's equations 1 to 4).

Equation 1, what is joined: `PriorTables` selects the tokens of the image, one for each task of its
dataset and those of its modality, p = [tasks, modality]; the feature F is taken voxel by voxel.

Equation 2, the posterior of the priors: `PriorFusion.tokens_query_feature`, then `tokens_mlp`;
    p  <-  p + attention(query = p, key and value = F),  then  p <- p + MLP(p).

Equation 3, the feature of the posteriors: `PriorFusion.feature_queries_tokens`, `feature_mlp`;
    F  <-  F + attention(query = F, key and value = p),  then  F <- F + MLP(F).

Equation 4, both at once from one matrix of scores, is the bidirectional attention that MedFormer
has anyway (`bidirectional.py`): Hermes-M hands its tokens to it, Hermes-R has equations 2 and 3.

A LayerNorm stands before every attention (one for each side) and every MLP. The mask of a task is
the dot product of its posterior prototype with the decoder's feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.universal.networks.attention import CrossAttention, ResidualMlp
from baselines.universal.networks.priors import (
    BodyAnswer,
    MaskHead,
    ModalityHead,
    PriorBody,
    PriorSizes,
    PriorTables,
    likeness,
)
from baselines.universal.networks.resunet import Decoder, Encoder, upsampled
from baselines.universal.networks.sizes import WIDTHS

BLOCKS = (2, 2, 4, 2, 2)  # of prior fusion at encoder 4x, 8x, 16x, decoder 8x, 4x
_MLP_FACTOR = 4


class PriorFusion(nn.Module):
    """One block of equations 2 and 3: first the tokens, then the feature with the new tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tokens_query_feature = CrossAttention(channels)
        self.tokens_mlp = ResidualMlp(channels, _MLP_FACTOR * channels)
        self.feature_queries_tokens = CrossAttention(channels)
        self.feature_mlp = ResidualMlp(channels, _MLP_FACTOR * channels)

    def forward(self, feature: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feature (B, voxels, C) and tokens (B, n, C), both updated."""
        tokens = self.tokens_mlp(self.tokens_query_feature(tokens, feature))  # equation 2
        feature = self.feature_mlp(self.feature_queries_tokens(feature, tokens))  # equation 3
        return feature, tokens


class FusionLevel(nn.ModuleList):
    """The blocks of one level, behind its convolutions."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__(PriorFusion(channels) for _ in range(blocks))

    def forward(self, feature: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feature (B, C, X, Y, Z) and tokens (B, n, C), both updated."""
        voxels = feature.flatten(2).transpose(1, 2)
        for block in self:
            voxels, tokens = block(voxels, tokens)
        return voxels.transpose(1, 2).unflatten(2, feature.shape[2:]), tokens


class FusedResUNet(nn.Module):
    """The body of Hermes-R: a residual U-Net whose levels from 4x on meet the priors.

    A fused feature is the skip and the input of the next stage.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, blocks: Sequence[int] = BLOCKS) -> None:
        super().__init__()
        self.token_widths: Sequence[int] = (*widths[2:], *widths[-2:1:-1])
        self.width, self.coarse_width = widths[0], widths[2]
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)
        self.fusions = nn.ModuleList(map(FusionLevel, self.token_widths, blocks))

    def forward(self, image: Tensor, priors: Sequence[Tensor]) -> BodyAnswer:
        """Image (B, 1, X, Y, Z), tokens (B, n, C) for each of the five levels."""
        posteriors: list[Tensor] = []

        def fused(feature: Tensor) -> Tensor:
            level = len(posteriors)
            feature, tokens = self.fusions[level](feature, priors[level])
            posteriors.append(tokens)
            return feature

        feature = self.encoder.stem(image)
        skips = [feature]
        for stage, meets in zip(self.encoder.stages, (False, True, True, True), strict=True):
            feature = fused(stage(feature)) if meets else stage(feature)
            skips.append(feature)
        features = []
        skips.pop()  # the deepest is not a skip
        for stage, meets in zip(self.decoder.stages, (True, True, False, False), strict=True):
            feature = stage(feature, skips.pop())
            feature = fused(feature) if meets else feature
            features.append(feature)
        return BodyAnswer(feature, features[1], posteriors)


class HermesAnswer(NamedTuple):
    """All that the network says of a batch.

    Attributes:
        logits: (B, n, X, Y, Z), before the sigmoid; null tokens get a mask that means nothing.
        auxiliary: the same from the 4x decoder, upsampled; None without auxiliary head.
        modality: logits (B, modalities); None without modality head.
        prototypes: (B, n, width), the posterior prototypes.
        feature: (B, width, X, Y, Z), what they are compared with.
    """

    logits: Tensor
    auxiliary: Tensor | None
    modality: Tensor | None
    prototypes: Tensor
    feature: Tensor


class Hermes(nn.Module):
    """Prior tables, a body, and the heads on the posteriors.

    Args:
        body: where features and tokens meet, e.g. `FusedResUNet()`; also a module.
        sizes: of the tables.
        auxiliary: a second mask head on the 4x decoder (Hermes-M, in training).
        modality_head: tell the modality from its posteriors (in training).
    """

    def __init__(
        self,
        body: PriorBody,
        sizes: PriorSizes,
        *,
        auxiliary: bool = False,
        modality_head: bool = True,
    ) -> None:
        super().__init__()
        joined = sum(body.token_widths)
        self.priors = nn.ModuleList(PriorTables(sizes, width) for width in body.token_widths)
        self.body = body
        self.mask_head = MaskHead(joined, body.width)
        self.auxiliary_head = MaskHead(joined, body.coarse_width) if auxiliary else None
        self.modality_head = ModalityHead(joined, sizes.modalities) if modality_head else None

    def forward(self, image: Tensor, tasks: Tensor, modalities: Tensor) -> Tensor:
        """Logits (B, n, X, Y, Z), see `answer`."""
        return likeness(*self.prototypes(image, tasks, modalities))

    def prototypes(self, image: Tensor, tasks: Tensor, modalities: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior prototypes (B, n, width), and the feature that they are compared with.

        All tasks of an image meet it together; of how many the logits are made afterwards is
        free.
        """
        seen, tokens = self._seen(image, tasks, modalities)
        return self.mask_head(tokens[:, : tasks.shape[1]]), seen.feature

    def answer(self, image: Tensor, tasks: Tensor, modalities: Tensor) -> HermesAnswer:
        """Everything at once.

        Args:
            image: (B, 1, X, Y, Z).
            tasks: (B, n) rows of the task tables, see `priors.task_lists`.
            modalities: (B,) rows of the modality tables, -1 if unknown.
        """
        seen, tokens = self._seen(image, tasks, modalities)
        n = tasks.shape[1]
        prototypes = self.mask_head(tokens[:, :n])
        auxiliary = modality = None
        if self.auxiliary_head is not None:
            coarse = likeness(self.auxiliary_head(tokens[:, :n]), seen.coarse)
            auxiliary = upsampled(coarse, image)
        if self.modality_head is not None:
            modality = self.modality_head(tokens[:, n:])
        logits = likeness(prototypes, seen.feature)
        return HermesAnswer(logits, auxiliary, modality, prototypes, seen.feature)

    def _seen(self, image: Tensor, tasks: Tensor, modalities: Tensor) -> tuple[BodyAnswer, Tensor]:
        """The body's answer, and the posteriors of all levels joined (B, n + length, joined)."""
        priors = [tables(tasks, modalities) for tables in self.priors]  # equation 1
        seen = self.body(image, priors)
        return seen, torch.cat(list(seen.posteriors), dim=2)


def hermes_r(sizes: PriorSizes, widths: Sequence[int] = WIDTHS) -> Hermes:
    """Hermes on the residual U-Net."""
    return Hermes(FusedResUNet(widths), sizes)


def weights_as_printed(network: Hermes) -> int:
    """Weights as the document's Table 1 counts them.

    Without what only a training needs (modality and auxiliary head), and without the task tables.
    """
    left_out = ("modality_head.", "auxiliary_head.")
    return sum(
        weights.numel()
        for name, weights in network.named_parameters()
        if not name.startswith(left_out) and not name.endswith(".tasks")
    )
