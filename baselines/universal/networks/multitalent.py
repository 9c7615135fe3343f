"""MultiTalent on the residual U-Net: a sigmoid channel for every class of every entry.

Same-named classes of different entries stay apart and masks may overlap, so nothing but the output
differs from the plain network; which channels an image has labels of is for the caller to say.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
