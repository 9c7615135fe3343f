"""UniSeg on the residual U-Net: a universal prompt tells the decoder the task.

The prompt has one channel for each task and the size of the deepest feature, so it ties the
network to one patch size. One output serves all tasks, as wide as the largest of them; a task with
k classes (background included) reads its first k channels, under a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.universal.networks.resunet import Decoder, Encoder
from baselines.universal.networks.sizes import WIDTHS
from evaluation.errors import BenchError

_SLOPE = 0.01


class FusionBlock(nn.Module):
    """3x3x3 convolution with bias, instance norm with weights, leaky ReLU."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out_channels, 3, padding=1)
        self.norm = nn.InstanceNorm3d(out_channels, affine=True)
        nn.init.kaiming_normal_(self.conv.weight, a=_SLOPE)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, X, Y, Z) to (B, out_channels, X, Y, Z)."""
        return functional.leaky_relu(self.norm(self.conv(feature)), _SLOPE)


class PromptFusion(nn.Module):
    """The prompt and what it makes of the deepest feature.

    Args:
        channels: of the deepest feature.
        tasks: number of tasks.
        size: of the deepest feature, which the prompt shares.
    """

    def __init__(self, channels: int, tasks: int, size: Sequence[int]) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.randn(1, tasks, *size))
        joined = channels + tasks
        self.blocks = nn.Sequential(
            FusionBlock(joined, joined // 4),
            FusionBlock(joined // 4, joined // 4),
            FusionBlock(joined // 4, tasks),
        )

    def forward(self, bottleneck: Tensor) -> Tensor:
        """(B, C, x, y, z) to one map for each task, (B, tasks, x, y, z)."""
        prompt = self.prompt.expand(len(bottleneck), -1, -1, -1, -1)
        maps: Tensor = self.blocks(torch.cat([bottleneck, prompt], dim=1))
        return maps


def with_task_map(bottleneck: Tensor, maps: Tensor, task: int) -> Tensor:
    """The deepest feature with the map of one task behind it, (B, C + 1, x, y, z)."""
    return torch.cat([bottleneck, maps[:, task : task + 1]], dim=1)


class UniSeg(nn.Module):
    """The body, the prompt and the shared output.

    Args:
        classes: for each task the number of its classes, background included.
        patch: size of every image, training's and later.
        widths: channels of the resolutions, five as published; the prompt has the coarsest.
    """

    def __init__(
        self, classes: Sequence[int], patch: Sequence[int], widths: Sequence[int] = WIDTHS
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.patch = tuple(patch)
        self.encoder = Encoder(widths)
        size = [length >> len(widths) - 1 for length in patch]
        self.fusion = PromptFusion(widths[-1], len(classes), size)
        self.decoder = Decoder(widths, extra=1)
        self.head = nn.Conv3d(widths[0], max(classes), 1)

    def forward(self, image: Tensor, task: int) -> Tensor:
        """A batch of one task.

        Args:
            image: (B, 1, X, Y, Z) of the patch's size.
            task: 0 ... tasks - 1, of the whole batch.

        Returns:
            Logits (B, k, X, Y, Z), the first k channels of the output.

        Raises:
            BenchError: another size than the patch.
        """
        if tuple(image.shape[2:]) != self.patch:
            raise BenchError(
                "UniSeg's prompt has the size of its training patch and answers no other",
                found=tuple(image.shape[2:]),
                expected=self.patch,
                hint="predict with windows of the training's patch",
            )
        features = self.encoder(image)
        features[-1] = with_task_map(features[-1], self.fusion(features[-1]), task)
        logits: Tensor = self.head(self.decoder(features))
        return logits[:, : self.classes[task]]
