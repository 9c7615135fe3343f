"""What the planner, Table 7 and the preset make of a specialist: its network, and its size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from baselines.nnunet.config import NnunetPreset
from baselines.nnunet.specialists import SpecialistPlan
from evaluation.published.specialists import CONVOLUTIONS_OF_A_STAGE, Shape
from evaluation.training.counting import count_weights, forward_flops, weightless

if TYPE_CHECKING:
    from torch import nn

# A planned specialist without a row in Table 7: nnU-Net's most frequent plan.
PATCH = (128, 128, 128)
WIDTHS = (32, 64, 128, 256, 320, 320)
BATCH = 2


@dataclass(frozen=True)
class Architecture:
    """Patch and batch, and for each stage its channels, stride and kernel."""

    patch: Shape
    batch: int
    outputs: int
    widths: Shape
    strides: tuple[Shape, ...]
    kernels: tuple[Shape, ...]


def architecture_of(plan: SpecialistPlan, preset: NnunetPreset) -> Architecture:
    """The architecture of a specialist, with the preset's changes."""
    change, pinned = preset.network, plan.pinned
    patch = change.patch_size or (pinned.patch_size if pinned else PATCH)
    widths = pinned.width if pinned else WIDTHS
    strides = pinned.strides if pinned else ((1, 1, 1), *[(2, 2, 2)] * (len(WIDTHS) - 1))
    kernels = pinned.kernel_sizes if pinned else ((3, 3, 3),) * len(WIDTHS)
    if change.patch_cap:
        patch = tuple(min(side, change.patch_cap) for side in patch)
        stages = max(2, min(len(widths), min(patch).bit_length() - 2))
        widths, strides, kernels = widths[:stages], strides[:stages], kernels[:stages]
    if change.width:
        # The cap on the width of deep stages scales alike.
        widths = tuple(w * change.width // widths[0] for w in widths)
    batch = change.batch_size or (pinned.batch_size if pinned else BATCH)
    return Architecture(patch, batch, len(plan.leaves) + 1, widths, strides, kernels)


def build_network(sizes: Architecture) -> nn.Module:
    """nnU-Net's plain U-Net.

    One input channel, one output for each class and one for the background; instance norm with
    weights, convolutions with bias, two of them in each stage (paper, Table 7 and §"baselines").
    """
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    stages = len(sizes.widths)
    network: nn.Module = PlainConvUNet(
        input_channels=1,
        n_stages=stages,
        features_per_stage=list(sizes.widths),
        conv_op=torch.nn.Conv3d,
        kernel_sizes=[list(k) for k in sizes.kernels],
        strides=[list(s) for s in sizes.strides],
        n_conv_per_stage=[CONVOLUTIONS_OF_A_STAGE] * stages,
        num_classes=sizes.outputs,
        n_conv_per_stage_decoder=[CONVOLUTIONS_OF_A_STAGE] * (stages - 1),
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    return network


@lru_cache
def counted(sizes: Architecture) -> tuple[int, float]:
    """Weights of a network, and operations of one forward pass of one patch."""
    network = weightless(lambda: build_network(sizes))
    return count_weights(network), forward_flops(network, (1, 1, *sizes.patch))
