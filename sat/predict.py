"""Segment one image by prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from evaluation.cases import Prediction
from evaluation.classes.modality import Modality
from evaluation.training.predict import segment_masks
from evaluation.volumes.axes import AxisOrder
from evaluation.volumes.image_files import Volume
from sat.model import SatModel


def segment(
    model: SatModel,
    image: Volume,
    modality: Modality,
    names: Sequence[str],
    embeddings: Tensor,
    *,
    chunk: int | None = None,
    on_done: Callable[[str], None] | None = None,
    on_encoded: Callable[[int, int], None] | None = None,
    axes: AxisOrder | None = None,
) -> Prediction:
    """Segment an image by text embeddings (N, E), which need not be of trained classes.

    See `evaluation.training.predict.segment_masks` for the other arguments and the answer.
    """
    queries = embeddings
    if names:
        with torch.inference_mode():
            queries = model.queries(embeddings.to(model.device))
    return segment_masks(
        model, image, modality, names, queries,
        chunk=chunk, on_done=on_done, on_window=on_encoded, axes=axes,
    )  # fmt: skip
