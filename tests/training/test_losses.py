"""Losses of known values."""

import numpy as np
import pytest
import torch

from evaluation.training.losses import label_loss, prompt_separation, segmentation_loss
from evaluation.training.settings import Loss


def test_loss_of_known_values():
    logits = torch.zeros(1, 2, 1, 1, 4)
    targets = torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0]).view(1, 2, 1, 1, 4)
    valid = torch.ones(1, 2, dtype=torch.bool)
    present = segmentation_loss(logits, targets, valid, Loss(smooth=0.0))
    # p = 1/2 everywhere: overlap 1, squares 4/4 + 2, so Dice 2/3.
    assert float(present.cross_entropy) == pytest.approx(np.log(2))
    assert float(present.dice) == pytest.approx(1 / 3)
    every = segmentation_loss(logits, targets, valid, Loss(smooth=0.0, dice_over="all"))
    assert float(every.dice) == pytest.approx((1 / 3 + 1) / 2)
    pooled = segmentation_loss(
        logits, targets, valid, Loss(smooth=0.0, dice_over="all", dice="pooled")
    )
    assert float(pooled.dice) == pytest.approx(1 - 2 / 4)
    valid[0, 0] = False
    nothing = segmentation_loss(logits, targets, valid, Loss())
    assert float(nothing.dice) == 0.0


def test_a_sample_counts_the_same_whatever_it_is_stacked_with():
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 4, 4, 4), (torch.rand(2, 3, 4, 4, 4) > 0.6).float()
    # Three prompts are valid in the first sample and one in the second.
    valid = torch.tensor([[True, True, True], [False, True, False]])
    for settings in (Loss(), Loss(dice_over="all"), Loss(dice="pooled")):
        both = segmentation_loss(logits, targets, valid, settings)
        alone = [
            segmentation_loss(logits[i : i + 1], targets[i : i + 1], valid[i : i + 1], settings)
            for i in (0, 1)
        ]
        for name in ("total", "cross_entropy", "dice"):
            mean = (float(getattr(alone[0], name)) + float(getattr(alone[1], name))) / 2
            assert float(getattr(both, name)) == pytest.approx(mean, abs=1e-6)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    prompts = [
        float(entropy(logits[i, p], targets[i, p].float())) for i in (0, 1) for p in range(3)
    ]
    expected = (sum(prompts[:3]) / 3 + prompts[4]) / 2
    found = segmentation_loss(logits, targets, valid, Loss())
    assert float(found.cross_entropy) == pytest.approx(expected, abs=1e-6)


def test_prompt_separation_sees_identical_answers():
    same = torch.randn(2, 1, 4, 4, 4).expand(2, 3, 4, 4, 4)
    assert prompt_separation(same) == 0.0
    assert prompt_separation(torch.randn(2, 3, 8, 8, 8)) > 1.0


def test_exclusive_labels():
    settings = Loss(squared=False, smooth=1e-5)
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[0, :2] = 2
    right = torch.nn.functional.one_hot(labels.long(), 4).movedim(-1, 1).float() * 50
    assert float(label_loss(right, labels, settings).total) < 1e-4
    even = label_loss(torch.zeros_like(right), labels, settings)
    assert float(even.cross_entropy) == pytest.approx(np.log(4))
    # A quarter everywhere, 32 of 64 voxels: 2 * 8 / (16 + 32); labels 1 and 3 are absent.
    assert float(even.dice) == pytest.approx(1 - 16 / 48, abs=1e-5)
    empty = torch.zeros_like(labels)
    sure = torch.nn.functional.one_hot(empty.long(), 4).movedim(-1, 1).float() * 200
    sure.requires_grad_()
    loss = label_loss(sure, empty, settings)
    loss.total.backward()
    assert float(loss.total.detach()) < 1e-4, "absent labels are the cross-entropy's business"
    assert sure.grad.isfinite().all(), "though their probabilities are zero"
