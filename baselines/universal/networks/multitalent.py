"""MultiTalent on the residual U-Net: a sigmoid channel for every class of every entry.

Same-named classes of different entries stay apart and masks may overlap, so nothing but the output
differs from the plain network; which channels an image has labels of is for the caller to say.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from baselines.universal.networks.dynamic import ImageFeatures
from baselines.universal.networks.resunet import ResUNet


class MultiTalent(ResUNet):
    """The plain network; its channels are read in part."""

    def forward(self, image: Tensor, channels: Tensor | None = None) -> Tensor:
        """Image (B, 1, X, Y, Z) to logits.

        Args:
            image: the batch.
            channels: (B, K) those that each image has labels of; all by default.

        Returns:
            (B, K, X, Y, Z), or (B, outputs, X, Y, Z).
        """
        logits = super().forward(image)
        if channels is None:
            return logits
        rows = torch.arange(len(channels), device=channels.device)
        return logits[rows[:, None], channels]

    def encode(self, image: Tensor) -> ImageFeatures:
        """What no channel enters, of images (B, 1, X, Y, Z)."""
        return ImageFeatures(self.decoder(self.encoder(image)))

    def decode(self, features: ImageFeatures, channels: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of the channels (K,) alone, for predictions.

        The head has a channel for every class of every entry, of which a window of 128 voxels a
        side takes 8 MiB each. A training keeps `forward`, whose last bits are its own.
        """
        weight, bias = self.head.weight, self.head.bias
        assert bias is not None
        return functional.conv3d(features.pixels, weight[channels], bias[channels])
