"""DoDNet on the residual U-Net: a head generated from the image and a one-hot task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.universal.networks.dynamic import (
    ImageFeatures,
    ImageVector,
    Reduction,
    dynamic_head,
    generated_numbers,
)
from baselines.universal.networks.resunet import Decoder, Encoder
from baselines.universal.networks.sizes import WIDTHS


class TaskHead(nn.Module):
    """The dynamic head of tasks.

    Args:
        bottleneck: channels of the deepest feature.
        width: channels of the decoder's feature.
        tasks: length of the one-hot code.
        outputs: channels of a task: 1 where every class is a task, 2 for organ and tumour.
    """

    def __init__(self, bottleneck: int, width: int, tasks: int, outputs: int = 1) -> None:
        super().__init__()
        self.tasks = tasks
        self.image_vector = ImageVector(bottleneck)
        self.controller = nn.Conv3d(bottleneck + tasks, generated_numbers(outputs), 1)
        self.reduction = Reduction(width)

    def numbers(self, bottleneck: Tensor, tasks: Tensor) -> Tensor:
        """The generated heads.

        Args:
            bottleneck: (B, C, X, Y, Z).
            tasks: (B, K) of 0 ... tasks - 1.

        Returns:
            (B, K, n), n numbers for each task of each image.
        """
        return self._numbers(self.image_vector(bottleneck), tasks)

    def _numbers(self, vector: Tensor, tasks: Tensor) -> Tensor:
        codes = functional.one_hot(tasks, self.tasks).to(vector.dtype)
        image = vector[:, None].expand(-1, tasks.shape[1], -1)
        joined = torch.cat([image, codes], dim=-1)
        # A 1x1x1 convolution, with the tasks in place of voxels.
        numbers: Tensor = self.controller(joined.transpose(1, 2)[..., None, None])
        return numbers[..., 0, 0].transpose(1, 2)

    def forward(self, bottleneck: Tensor, feature: Tensor, tasks: Tensor) -> Tensor:
        """Logits (B, K, outputs, X, Y, Z) of the tasks (B, K)."""
        return self.answer(self.read(bottleneck, feature), tasks)

    def read(self, bottleneck: Tensor, feature: Tensor) -> ImageFeatures:
        """What no task enters."""
        return ImageFeatures(self.reduction(feature), self.image_vector(bottleneck))

    def answer(self, features: ImageFeatures, tasks: Tensor) -> Tensor:
        """Logits (B, K, outputs, X, Y, Z) of the tasks (B, K)."""
        assert features.vector is not None
        return dynamic_head(features.pixels, self._numbers(features.vector, tasks))


class DoDNet(nn.Module):
    """The body and the dynamic head; every class of every entry is a task.

    A task that is not asked for generates no head, so it can have no gradient either.
    """

    def __init__(self, tasks: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)
        self.head = TaskHead(widths[-1], widths[0], tasks)

    def forward(self, image: Tensor, tasks: Tensor) -> Tensor:
        """Image (B, 1, X, Y, Z) and tasks (B, K) to logits (B, K, X, Y, Z)."""
        return self.decode(self.encode(image), tasks)

    def encode(self, image: Tensor) -> ImageFeatures:
        """What no task enters, of images (B, 1, X, Y, Z)."""
        features = self.encoder(image)
        return self.head.read(features[-1], self.decoder(features))

    def decode(self, features: ImageFeatures, tasks: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of the tasks (B, K), or (K,) of all images."""
        tasks = tasks.expand(len(features.pixels), -1)
        return self.head.answer(features, tasks)[:, :, 0]
