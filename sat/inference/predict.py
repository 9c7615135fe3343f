"""Segment one image by prompts, in memory that does not grow with their number.

The features of every window are computed once; then a few prompts at a time go over the whole
grid, are blended, interpolated to the native grid, thresholded there and packed into layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.cases import Prediction
from evaluation.classes.modality import Modality
from evaluation.volumes.image_files import Volume
from sat.architecture.network import SatNetwork
from sat.config import Inference, Preset, Triple
from sat.grid import GridMap, crop_and_normalise, padded_shape, resample_image, triple
from sat.inference.features import WindowFeatures
from sat.inference.memory import give_back_free_memory
from sat.inference.native import LayerPacker, decision_map, to_native
from sat.inference.windows import prompts_at_once, total_weights, window_weights
from sat.model import SatModel


@dataclass(frozen=True)
class OwnImage:
    """An image on the model's own grid: the normalised crop and where it lies."""

    crop: Tensor
    origin: Triple
    grid: GridMap


def own_image(image: Volume, modality: Modality, preset: Preset) -> OwnImage:
    """Resample, crop and normalise an image (x, y, z) in RAS as in training.

    Raises:
        BenchError: see `crop_and_normalise`.
    """
    x, y, z = image.array.shape
    grid = GridMap((x, y, z), image.spacing_mm, preset.grid.spacing_mm)
    crop, box = crop_and_normalise(resample_image(image.array, grid), modality, preset.grid)
    origin = (box[0].start, box[1].start, box[2].start)
    return OwnImage(torch.from_numpy(crop), origin, grid)


def blended_probabilities(
    network: SatNetwork,
    crop: Tensor,
    queries: Tensor,
    settings: Inference,
    window: Triple,
    chunk: int | None = None,
    on_encoded: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Probability maps of all queries on the crop, a few at a time.

    Args:
        network: in evaluation mode.
        crop: (X, Y, Z) float32.
        queries: (N, d) on the network's device.
        settings: overlap, blending, batch and memory.
        window: size of a window; a smaller volume is filled up with zeros at the far end.
        chunk: prompts at once; by default as many as the memory budget allows.
        on_encoded: called with the number of windows encoded so far and of all windows.

    Yields:
        Number of the query and its probability (X, Y, Z), float32 on the CPU.
    """
    fill = [max(0, w - n) for n, w in zip(crop.shape, window, strict=True)]
    volume = torch.nn.functional.pad(crop, (0, fill[2], 0, fill[1], 0, fill[0]))
    weights = window_weights(window, settings.blending)
    x, y, z = crop.shape
    chunk = chunk or prompts_at_once(settings, volume.numel(), weights.numel())
    with WindowFeatures(
        network,
        volume,
        window,
        settings.overlap,
        settings.window_batch,
        settings.memory_mib << 20,
        on_encoded,
    ) as features:
        corners = features.corners
        total = total_weights((volume.shape[0], volume.shape[1], volume.shape[2]), corners, weights)
        on_device = weights.to(queries.device)
        for start in range(0, len(queries), chunk):
            part = queries[start : start + chunk]
            blended = torch.zeros(len(part), *volume.shape)
            for places, window_features in features:
                with torch.inference_mode():
                    logits = network.decode(window_features, part)
                    weighted = (logits.float().sigmoid() * on_device).cpu()
                for (a, b, c), answer in zip(places, weighted, strict=True):
                    blended[:, a : a + window[0], b : b + window[1], c : c + window[2]] += answer
                # Otherwise they stay until the next windows and the next prompts have theirs.
                del logits, weighted, answer
            for row in range(len(part)):
                yield start + row, (blended[row] / total)[:x, :y, :z]
            del blended


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
) -> Prediction:
    """Segment an image by prompts.

    Args:
        model: in evaluation mode.
        image: (x, y, z) in RAS with its affine.
        modality: `ct` or `mri`.
        names: what the classes are called in the answer.
        embeddings: text embeddings (N, E) of the prompts, in the same order.
        chunk: prompts at once; the answer does not depend on it.
        on_done: called with each name when it is finished.
        on_encoded: called with the number of windows encoded so far and of all windows.

    Returns:
        Layers on the native grid, kind `direct`, and the same on the model's own grid, which
        covers the whole native extent.
    """
    preset = model.preset
    prepared = own_image(image, modality, preset)
    grid, origin = prepared.grid, prepared.origin
    native, own = LayerPacker(grid.native_shape), LayerPacker(grid.own_shape)
    window = padded_shape(
        triple(prepared.crop.shape),
        preset.inference.patch,
        preset.network.total_stride,
        preset.training.pad_to == "patch",
    )
    same = GridMap(grid.own_shape, grid.own_mm, grid.own_mm)
    if names:
        with torch.inference_mode():
            queries = model.queries(embeddings.to(model.device))
        maps = blended_probabilities(
            model.network, prepared.crop, queries, preset.inference, window, chunk, on_encoded
        )
        for number, probability in maps:
            decision = decision_map(probability, preset.inference.interpolate)
            native.add(names[number], "direct", to_native(decision, origin, grid))
            own.add(names[number], "direct", to_native(decision, origin, same))
            give_back_free_memory()
            if on_done is not None:
                on_done(names[number])
    return Prediction(
        native.segmentation(image.affine), own.segmentation(grid.own_affine(image.affine))
    )
