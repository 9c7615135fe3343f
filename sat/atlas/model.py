"""The two sides that stage 2 brings together: pooled regions and frozen texts."""

from __future__ import annotations

from torch import Tensor, nn

from sat.architecture.blocks import Backbone
from sat.atlas.pooling import pool_regions, scale_masks
from sat.config import AtlasTraining, Preset
from sat.prompts.book import PromptProjection


class AtlasModel(nn.Module):
    """The segmentation's encoder with a head for regions, and a head for text embeddings.

    The text encoder is frozen and outside: texts arrive as embeddings. Their statistics over the
    class list are used as in the segmentation (`prompts.embedding`).

    Args:
        preset: network, prompts and strides.
        settings: width, scales and heads.
        embeddings: text embeddings (N, E) of the class list.
    """

    def __init__(self, preset: Preset, settings: AtlasTraining, embeddings: Tensor) -> None:
        super().__init__()
        self._sizes, self._scales = preset.network, settings.scales
        # As the segmentation network starts it, its decoder left out.
        self.encoder = Backbone(preset.network).encoder
        widths = preset.network.widths
        pooled = sum(widths) if settings.scales == "all" else widths[-1]
        self.region_head = _perceptron(pooled, settings.width)
        plain = preset.prompts.model_copy(update={"projection": "none", "query_length": "free"})
        text_width = embeddings.shape[1]
        self.text_input = PromptProjection(plain, text_width, text_width)
        self.text_input.fit(embeddings)
        self.text_head = _perceptron(text_width, settings.width)

    def regions(self, image: Tensor, masks: Tensor, sample: Tensor) -> Tensor:
        """Unit-length vectors (R, width) of regions.

        Args:
            image: crops (B, 1, X, Y, Z).
            masks: (R, X, Y, Z) bool, none of them empty.
            sample: (R,) which crop a region lies in.
        """
        scales = self.encoder(image.expand(-1, self._sizes.in_channels, -1, -1, -1))
        reduced = scale_masks(masks, self._sizes.strides)
        if self._scales == "bottleneck":
            scales, reduced = scales[-1:], reduced[-1:]
        return nn.functional.normalize(
            self.region_head(pool_regions(scales, reduced, sample)), dim=-1
        )

    def texts(self, embeddings: Tensor) -> Tensor:
        """Unit-length vectors (N, width) of frozen text embeddings (N, E)."""
        return nn.functional.normalize(self.text_head(self.text_input(embeddings.detach())), dim=-1)


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
