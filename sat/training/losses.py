"""Binary cross-entropy plus Dice with a squared denominator (paper, eq. 10)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sat.config import Loss


class LossParts(NamedTuple):
    """Total and its two terms, scalars."""

    total: Tensor
    cross_entropy: Tensor
    dice: Tensor


def segmentation_loss(logits: Tensor, targets: Tensor, valid: Tensor, settings: Loss) -> LossParts:
    """Loss of one batch.

    Args:
        logits: (B, P, X, Y, Z).
        targets: the same shape, 0 or 1.
        valid: (B, P), false for padding and for classes that the case has no annotation of.
        settings: form of the Dice term.

    Returns:
        Means over the samples of each sample's mean over its valid prompts, so that a sample
        counts the same whatever it is stacked with; one without any counts as zero.
        Cross-entropy is the mean over voxels, Dice one minus the overlap of a prompt; prompts
        that the crop does not show are left out of the latter with `dice_over: present`.
        `pooled` sums over the classes of a sample inside the fraction, as the paper prints it.
    """
    logits, targets = logits.float().flatten(2), targets.float().flatten(2)
    weights = valid.float()
    voxelwise = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="none"
    )
    cross_entropy = _mean_of_means(voxelwise.mean(-1), weights)
    probabilities = logits.sigmoid()
    overlap = (probabilities * targets).sum(-1)
    size = (probabilities * probabilities).sum(-1) + targets.sum(-1)
    if settings.dice_over == "present":
        weights = weights * (targets.amax(-1) > 0)
    if settings.dice == "pooled":
        overlap = (overlap * weights).sum(1, keepdim=True)
        size = (size * weights).sum(1, keepdim=True)
        weights = weights.amax(1, keepdim=True)
    ratio = (2 * overlap + settings.smooth) / (size + settings.smooth)
    dice = _mean_of_means(1 - ratio, weights)
    return LossParts(cross_entropy + dice, cross_entropy, dice)


def _mean_of_means(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over rows of each row's weighted mean; a row without weight is zero, gradient too."""
    rows: Tensor = (values * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    return rows.mean()


@torch.no_grad()
def prompt_separation(logits: Tensor) -> float:
    """How differently prompts are answered: an early warning of a training that stands still.

    The mean absolute difference of the logits (B, P, X, Y, Z) of neighbouring prompts over the
    standard deviation of all. About 0.5 and more in trainings that work, below 0.25 in those
    whose prompts all give one mask; NaN with a single prompt.
    """
    if logits.shape[1] < 2:
        return float("nan")
    values = logits.float()
    difference = (values[:, 1:] - values[:, :-1]).abs().mean()
    return float(difference / values.std().clamp(min=1e-12))
