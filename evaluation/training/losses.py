"""Losses: cross-entropy plus Dice, of masks that may overlap or of exclusive labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.training.settings import Loss


class LossParts(NamedTuple):
    """Total and its two terms, scalars."""

    total: Tensor
    cross_entropy: Tensor
    dice: Tensor


class StepLoss(NamedTuple):
    """What a model makes of a batch.

    Attributes:
        total: mean over the crops of the batch, each by itself, so that a crop counts the same
            whatever it is stacked with; or a loss of the batch as a whole, as some are published.
            Then `training.batch` is part of what is learnt: a model's `Start.made_from` says it,
            its crops have one size, and processes and accumulated batches are averaged.
        parts: terms of it, or other scalars of the same kind, for the log.
        logits: (B, P, X, Y, Z), without their graph, for the log.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    logits: Tensor


def segmentation_loss(logits: Tensor, targets: Tensor, valid: Tensor, settings: Loss) -> LossParts:
    """Loss of masks, each with a yes or no of its own (SAT's paper, eq. 10).

    Args:
        logits: (B, P, X, Y, Z).
        targets: the same shape, 0 or 1.
        valid: (B, P), false for padding and for classes that the case has no annotation of.
        settings: form of the Dice term.

    Returns:
        Means over the samples of each sample's mean over its valid prompts; one without any
        counts as zero. Cross-entropy is the mean over voxels, Dice one minus the overlap of a
        prompt; prompts that the crop does not show are left out of the latter with `dice_over:
        present`. `pooled` sums over the classes of a sample inside the fraction, as the paper
        prints it.
    """
    logits, targets = logits.float().flatten(2), targets.float().flatten(2)
    weights = valid.float()
    voxelwise = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    cross_entropy = _mean_of_means(voxelwise.mean(-1), weights)
    dice = _dice(logits.sigmoid(), targets, weights, settings)
    return LossParts(cross_entropy + dice, cross_entropy, dice)


def label_loss(logits: Tensor, labels: Tensor, settings: Loss) -> LossParts:
    """Loss of exclusive labels.

    Args:
        logits: (B, C, X, Y, Z), the background first.
        labels: (B, X, Y, Z) integers below C.
        settings: form of the Dice term, which leaves the background out.
    """
    logits, labels = logits.float(), labels.long()
    cross_entropy = functional.cross_entropy(logits, labels)
    targets = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].float().flatten(2)
    probabilities = logits.softmax(dim=1)[:, 1:].flatten(2)
    dice = _dice(probabilities, targets, targets.new_ones(targets.shape[:2]), settings)
    return LossParts(cross_entropy + dice, cross_entropy, dice)


def _dice(probabilities: Tensor, targets: Tensor, weights: Tensor, settings: Loss) -> Tensor:
    """One minus the overlap, (B, P, voxels) with weights (B, P)."""
    overlap = (probabilities * targets).sum(-1)
    counted = probabilities * probabilities if settings.squared else probabilities
    size = counted.sum(-1) + targets.sum(-1)
    if settings.dice_over == "present":
        weights = weights * (targets.amax(-1) > 0)
    if settings.dice == "pooled":
        overlap = (overlap * weights).sum(1, keepdim=True)
        size = (size * weights).sum(1, keepdim=True)
        weights = weights.amax(1, keepdim=True)
    ratio = (2 * overlap + settings.smooth) / (size + settings.smooth)
    return _mean_of_means(1 - ratio, weights)


def _mean_of_means(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over rows of each row's weighted mean; a row without weight is zero, gradient too."""
    rows: Tensor = (values * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    return rows.mean()


def supervised_loss(
    outputs: Tensor | tuple[Tensor, ...], targets: Tensor, valid: Tensor, settings: Loss
) -> LossParts:
    """Loss of everything that a network answered, with deep supervision where it does.

    The full resolution and the coarser scales weigh 1, 1/2, 1/4, ..., brought to a sum of 1.

    Args:
        outputs: logits (B, P, X, Y, Z), or a tuple of them with coarser ones behind.
        targets: (B, P, X, Y, Z), 0 or 1; a coarser scale takes the nearest voxel's.
        valid: (B, P), see `segmentation_loss`.
        settings: form of the loss, the same at all scales.
    """
    if isinstance(outputs, Tensor):
        return segmentation_loss(outputs, targets, valid, settings)
    total = sum(0.5**i for i in range(len(outputs)))
    weighted = []
    for i, logits in enumerate(outputs):
        shape = logits.shape[2:]
        nearest = (
            targets
            if shape == targets.shape[2:]
            else functional.interpolate(targets.float(), shape, mode="nearest")
        )
        parts = segmentation_loss(logits, nearest, valid, settings)
        weighted.append([part * (0.5**i / total) for part in parts])
    return LossParts(*(torch.stack(scales).sum(0) for scales in zip(*weighted, strict=True)))


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
