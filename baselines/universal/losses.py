"""The published losses of the universal systems.

Those of masks that may overlap take logits, targets of 0 and 1, and for each image which classes
its entry annotates: a class without annotation enters no sum and no count, so it has no gradient.
They differ in the Dice term and in what is averaged over what. Those of exclusive labels take the
logits of one entry and its label map.

All are losses of a batch: of what one process stacks (`training.batch`), not means over its crops.
Processes and accumulated batches are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.training.losses import LossParts

_TINY = 1e-6
_ALPHA = 0.2, 0.8
_SMOOTH = 1.0
_SMALL = 1e-5
_NO_COUNT = 1e-7


def hermes_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> LossParts:
    """Hermes: means over all annotated (image, task) pairs of the batch.

    Args:
        logits: (B, P, X, Y, Z).
        targets: the same shape, 0 or 1.
        valid: (B, P), false for null tokens.
    """
    crossed = voxelwise(logits, targets)
    return _sum(_mean(crossed, valid), _mean(1 - tversky(logits, targets)[0], valid))


def tversky(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap whose weight of false positives is their share of all errors, 0.2 to 0.8.

    Returns:
        The overlap of each pair and the weight, (B, P); the weight is part of the gradient.
    """
    p, g = _flat(logits).sigmoid(), _flat(targets)
    return _tversky(p, g, _TINY)


def _tversky(p: Tensor, g: Tensor, smooth: float, above: float = 0.0) -> tuple[Tensor, Tensor]:
    """Probabilities and targets (..., voxels); `smooth` below the fraction, `above` above it."""
    hits, false_positives, false_negatives = (
        (p * g).sum(-1),
        (p * (1 - g)).sum(-1),
        ((1 - p) * g).sum(-1),
    )
    alpha = false_positives / (false_positives + false_negatives + smooth)
    alpha = alpha.clamp(*_ALPHA)
    errors = alpha * false_positives + (1 - alpha) * false_negatives
    return (hits + above) / (hits + errors + smooth), alpha


def dodnet_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> LossParts:
    """DoDNet: mean over the images that have a class annotated, then over the classes that occur.

    Args:
        logits: (B, P, X, Y, Z), the same classes for every image.
        targets: the same shape, 0 or 1; anything where not valid.
        valid: (B, P).
    """
    occurs = valid.any(dim=0)

    def reduced(values: Tensor) -> Tensor:
        kept = torch.where(valid, values, torch.zeros_like(values))
        return _mean(kept.sum(0) / valid.sum(0).clamp(min=1), occurs)

    crossed = voxelwise(logits, targets)
    return _sum(reduced(crossed), reduced(1 - smoothed_dice(logits, targets)))


def clip_driven_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> LossParts:
    """CLIP-driven: DoDNet's terms over the whole volume, mean over the (image, class) pairs.

    Args:
        logits: (B, P, X, Y, Z).
        targets: the same shape, 0 or 1.
        valid: (B, P).
    """
    crossed = voxelwise(logits, targets)
    return _sum(_mean(crossed, valid), _mean(1 - smoothed_dice(logits, targets), valid))


def smoothed_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """2 sum(p g) / (sum p + sum g + 1) of each pair, (B, P): smoothed in the denominator only."""
    p, g = _flat(logits).sigmoid(), _flat(targets)
    return 2 * (p * g).sum(-1) / (p.sum(-1) + g.sum(-1) + _SMOOTH)


def multitalent_loss(
    outputs: Sequence[Tensor], targets: Sequence[Tensor], valid: Tensor
) -> LossParts:
    """MultiTalent: sums, not means, so it grows with the number of annotated classes.

    Cross-entropy is the sum over (image, class) pairs of the mean over voxels; the Dice term is
    *minus* the sum over classes of the overlap, whose counts are pooled over the batch.

    Args:
        outputs: logits (B, P, X, Y, Z), the same classes for every image; coarser resolutions
            behind, which weigh 1/2, 1/4, ..., brought to a sum of 1.
        targets: for each resolution, 0 or 1.
        valid: (B, P).
    """
    shares = [0.5**i for i in range(len(outputs))]
    cross_entropy = dice = torch.zeros_like(valid, dtype=outputs[0].dtype).sum()
    for share, logits, target in zip(shares, outputs, targets, strict=True):
        weight = share / sum(shares)
        crossed, overlap = _multitalent_terms(logits, target, valid)
        cross_entropy, dice = cross_entropy + weight * crossed, dice - weight * overlap
    return _sum(cross_entropy, dice)


def _multitalent_terms(logits: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    weights = valid[..., None].to(_flat(logits).dtype)
    p, g = _flat(logits).sigmoid(), _flat(targets)
    hits, size = (p * g * weights).sum((0, 2)), ((p + g) * weights).sum((0, 2))
    crossed = (voxelwise(logits, targets) * weights[..., 0]).sum()
    return crossed, (2 * hits / size.clamp(min=_NO_COUNT)).sum()


def resunet_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, valid: Tensor | None = None
) -> LossParts:
    """ResUNet and MedFormer on one entry, as the latter's authors train both.

    Weighted cross-entropy, and Hermes' overlap of the softmax, whose counts are pooled over the
    batch; mean over the labels, background included.

    Args:
        logits: (B, C, X, Y, Z), the background first.
        labels: (B, X, Y, Z) integers below C.
        weights: (C,) of the cross-entropy.
        valid: (B, C) labels that each image is annotated for; the others get no gradient.
    """
    logits = _of_annotated(logits, valid)
    crossed = functional.cross_entropy(_precise(logits), labels.long(), _precise(weights))
    overlap, _ = _tversky(*_pooled(logits, labels), _SMALL, _SMALL)
    return _sum(crossed, _mean_of_annotated(1 - overlap, valid))


def uniseg_loss(logits: Tensor, labels: Tensor, valid: Tensor | None = None) -> LossParts:
    """UniSeg (nnU-Net's): cross-entropy, and Dice pooled over the batch without the background.

    Args:
        logits: (B, C, X, Y, Z) of one task, the background first.
        labels: (B, X, Y, Z) integers below C.
        valid: (B, C) labels that each image is annotated for; the others get no gradient.
    """
    logits = _of_annotated(logits, valid)
    p, g = _pooled(logits, labels)
    overlap = (2 * (p * g).sum(-1) + _SMALL) / (p.sum(-1) + g.sum(-1) + _SMALL)
    dice = _mean_of_annotated(1 - overlap[1:], None if valid is None else valid[:, 1:])
    return _sum(functional.cross_entropy(_precise(logits), labels.long()), dice)


def _of_annotated(logits: Tensor, valid: Tensor | None) -> Tensor:
    """Logits whose softmax is among the labels that each image is annotated for."""
    if valid is None or valid.all():
        return logits
    return logits.masked_fill(~valid[..., None, None, None], -torch.inf)


def _mean_of_annotated(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the labels (C,) that some image is annotated for; without any, zero."""
    if valid is None or valid.all():
        return values.mean()
    return _mean(values, valid.any(dim=0))


def _pooled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax and one-hot labels, (C, voxels of the batch)."""
    p = _precise(logits).softmax(dim=1)
    g = functional.one_hot(labels.long(), p.shape[1]).movedim(-1, 1).to(p.dtype)
    return p.movedim(1, 0).flatten(1), g.movedim(1, 0).flatten(1)


def mean_of(main: LossParts, other: LossParts) -> LossParts:
    """Two heads' losses, half of each (MedFormer and Hermes-M with their auxiliary heads)."""
    return LossParts(*((a + b) / 2 for a, b in zip(main, other, strict=True)))


def voxelwise(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the voxels of each pair, (B, P)."""
    crossed = functional.binary_cross_entropy_with_logits(
        _flat(logits), _flat(targets), reduction="none"
    )
    return crossed.mean(-1)


def _flat(values: Tensor) -> Tensor:
    """(B, P, voxels), in single precision unless it is double."""
    return _precise(values.flatten(2))


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Over what is valid; nothing valid is zero, its gradient too."""
    kept = torch.where(valid, values, torch.zeros_like(values))
    return kept.sum() / valid.sum().clamp(min=1)


def _sum(cross_entropy: Tensor, dice: Tensor) -> LossParts:
    return LossParts(cross_entropy + dice, cross_entropy, dice)
