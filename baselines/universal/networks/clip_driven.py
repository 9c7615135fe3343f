"""The CLIP-driven universal model on the residual U-Net: a head from the image and a class's text.

The published model embeds "A computerized tomography of a {class}" with CLIP (512 values); the
vectors are frozen. Any other text encoder's vectors may stand in their place, and so may learnt
ones (the published code's other mode).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.universal.networks.dynamic import (
    ImageFeatures,
    ImageVector,
    Reduction,
    dynamic_head,
    generated_numbers,
)
from baselines.universal.networks.resunet import Decoder, Encoder
from baselines.universal.networks.sizes import WIDTHS

VECTOR = 256


class TextHead(nn.Module):
    """The dynamic head of classes.

    Args:
        bottleneck: channels of the deepest feature.
        width: channels of the decoder's feature.
        text: (classes, D) vectors of the classes, kept as they are; or the number of classes, for
            vectors of 256 values that are learnt in place of text.
    """

    embedding: Tensor | None

    def __init__(self, bottleneck: int, width: int, text: Tensor | int) -> None:
        super().__init__()
        if isinstance(text, int):
            self.register_buffer("embedding", None)
            self.learnt = nn.Parameter(torch.randn(text, VECTOR))
        else:
            self.register_buffer("embedding", text.detach().clone())
            self.text_to_vision = nn.Linear(text.shape[1], VECTOR)
        self.image_vector = ImageVector(bottleneck)
        self.image_to_vision = nn.Conv3d(bottleneck, VECTOR, 1)
        self.controller = nn.Conv3d(2 * VECTOR, generated_numbers(1), 1)
        self.reduction = Reduction(width)

    def class_vectors(self) -> Tensor:
        """(classes, 256)."""
        if self.embedding is None:
            return self.learnt
        vectors: Tensor = self.text_to_vision(self.embedding)
        return vectors.relu()

    def numbers(self, bottleneck: Tensor, classes: Tensor) -> Tensor:
        """The generated heads.

        Args:
            bottleneck: (B, C, X, Y, Z).
            classes: (B, K) rows of the text.

        Returns:
            (B, K, 153).
        """
        return self._numbers(self._vector(bottleneck), classes)

    def _vector(self, bottleneck: Tensor) -> Tensor:
        vector = self.image_vector(bottleneck)[..., None, None, None]
        answer: Tensor = self.image_to_vision(vector).flatten(1)
        return answer

    def _numbers(self, vector: Tensor, classes: Tensor) -> Tensor:
        image = vector[:, None].expand(-1, classes.shape[1], -1)
        joined = torch.cat([image, self.class_vectors()[classes]], dim=-1)
        # A 1x1x1 convolution, with the classes in place of voxels.
        numbers: Tensor = self.controller(joined.transpose(1, 2)[..., None, None])
        return numbers[..., 0, 0].transpose(1, 2)

    def forward(self, bottleneck: Tensor, feature: Tensor, classes: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of the classes (B, K)."""
        return self.answer(self.read(bottleneck, feature), classes)

    def read(self, bottleneck: Tensor, feature: Tensor) -> ImageFeatures:
        """What no class enters."""
        return ImageFeatures(self.reduction(feature), self._vector(bottleneck))

    def answer(self, features: ImageFeatures, classes: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of the classes (B, K)."""
        assert features.vector is not None
        return dynamic_head(features.pixels, self._numbers(features.vector, classes))[:, :, 0]


class ClipDriven(nn.Module):
    """The body and the head of classes.

    Args:
        text: see `TextHead`.
        widths: channels of the five resolutions.
    """

    def __init__(self, text: Tensor | int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.decoder = Decoder(widths)
        self.head = TextHead(widths[-1], widths[0], text)

    def forward(self, image: Tensor, classes: Tensor) -> Tensor:
        """Image (B, 1, X, Y, Z) and classes (B, K) to logits (B, K, X, Y, Z).

        The published code computes every class and picks the annotated ones afterwards; a class's
        logits do not depend on the others, so those that are not asked for are left out.
        """
        return self.decode(self.encode(image), classes)

    def encode(self, image: Tensor) -> ImageFeatures:
        """What no class enters, of images (B, 1, X, Y, Z)."""
        features = self.encoder(image)
        return self.head.read(features[-1], self.decoder(features))

    def decode(self, features: ImageFeatures, classes: Tensor) -> Tensor:
        """Logits (B, K, X, Y, Z) of the classes (B, K), or (K,) of all images."""
        return self.head.answer(features, classes.expand(len(features.pixels), -1))
