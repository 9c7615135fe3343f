"""Label maps by sliding windows, through the decoder of the image's own entry."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import (
    compute_gaussian,
    compute_steps_for_sliding_window,
)
from numpy.typing import NDArray
from torch import Tensor

from baselines.universal.multi_decoder.checkpoint import TrainedModel
from baselines.universal.multi_decoder.grid import (
    image_on_grid,
    labels_from_probabilities,
    normalise,
    own_shape,
)
from evaluation.classes.modality import Modality
from evaluation.volumes.image_files import Volume, spacing_of


def window_probabilities(model: TrainedModel, image: Tensor, dataset: str) -> Tensor:
    """Blended probabilities (C, X, Y, Z) of a normalised image (X, Y, Z) on the own grid.

    Windows are as large as the training's patches and weighted by a Gaussian, as nnU-Net does.
    """
    preset, device = model.preset, next(model.network.parameters()).device
    patch = preset.training.patch
    size = [max(n, p) for n, p in zip(image.shape, patch, strict=True)]
    padding = [
        fill for n, s in zip(image.shape[::-1], size[::-1], strict=True) for fill in (0, s - n)
    ]
    volume = torch.nn.functional.pad(image, padding)
    weights = compute_gaussian(patch, dtype=torch.float32, device=torch.device("cpu"))
    blended = torch.zeros(model.outputs[dataset], *size)
    total = torch.zeros(size)
    starts = compute_steps_for_sliding_window(tuple(size), patch, 1 - preset.overlap)
    for corner in itertools.product(*starts):
        window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        logits = model.network(volume[window][None, None].to(device), (dataset,))[dataset][1]
        blended[(slice(None), *window)] += logits[0].float().softmax(dim=0).cpu() * weights
        total[window] += weights
    x, y, z = image.shape
    return (blended / total)[:, :x, :y, :z]


def predict_labels(
    model: TrainedModel, image: Volume, modality: Modality, dataset: str
) -> NDArray[np.uint8]:
    """Leaf labels (x, y, z) of an image on its native grid.

    Raises:
        BenchError: the image cannot be normalised.
    """
    shape = own_shape(image.array.shape, spacing_of(image.affine), model.preset.grid.spacing_mm)
    own = normalise(image_on_grid(image.array, shape), modality, model.preset.grid)
    # As stored for training.
    rounded = torch.from_numpy(own.astype(np.float16).astype(np.float32))
    with torch.inference_mode():
        probabilities = window_probabilities(model, rounded, dataset)
        return labels_from_probabilities(probabilities, image.array.shape)
