"""Predict one image, in memory that does not grow with the number of prompts.

Windows are prepared once; then a few prompts at a time go over the whole grid, are blended,
interpolated to the native grid and decided there: each mask by a threshold, packed into layers,
or the labels of one map against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.cases import ImageCase, Prediction
from evaluation.classes.modality import Modality
from evaluation.training.grid import (
    GridMap,
    crop_and_normalise,
    padded_shape,
    resample_image,
    triple,
)
from evaluation.training.memory import give_back_free_memory
from evaluation.training.model import SegmentationModel
from evaluation.training.native import LabelMap, LayerPacker, decision_map, to_native
from evaluation.training.settings import Grid, TrainingPreset, Triple
from evaluation.training.windows import prompts_at_once, total_weights, window_weights
from evaluation.volumes.axes import (
    AxisOrder,
    array_turned_back,
    turned,
    turned_back,
)
from evaluation.volumes.image_files import Volume


@dataclass(frozen=True)
class OwnImage:
    """An image on a network's own grid: the normalised crop and where it lies."""

    crop: Tensor
    origin: Triple
    grid: GridMap


def axes_for(case: ImageCase, trained: bool, grid: Grid) -> AxisOrder:
    """Axis order in which a network is shown a case.

    Of an entry that it was trained on as the training had it, of another as `Grid.order_for` says.
    """
    return case.grid_axes if trained else grid.order_for(case.spacing_mm, case.grid_axes)


def own_image(image: Volume, modality: Modality, settings: Grid) -> OwnImage:
    """Resample, crop and normalise an image (x, y, z), turned to its axis order, as in training.

    Raises:
        BenchError: see `crop_and_normalise`.
    """
    x, y, z = image.array.shape
    grid = GridMap((x, y, z), image.spacing_mm, settings.sides_for(image.spacing_mm[2]))
    crop, box = crop_and_normalise(resample_image(image.array, grid), modality, settings)
    origin = (box[0].start, box[1].start, box[2].start)
    return OwnImage(torch.from_numpy(crop), origin, grid)


def window_of(shape: Sequence[int], preset: TrainingPreset) -> Triple:
    """Size of the windows in a volume of that shape."""
    return padded_shape(triple(shape), preset.inference.patch, preset.stride, preset.fills_patch)


def blended_probabilities(
    model: SegmentationModel,
    crop: Tensor,
    prompts: Tensor,
    window: Triple | None = None,
    chunk: int | None = None,
    on_window: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Probability maps of all prompts on the crop, a few at a time.

    Args:
        model: in evaluation mode.
        crop: (X, Y, Z) float32.
        prompts: (N, ...) as `model.answers` takes them.
        window: size of a window; a smaller volume is filled up with zeros at the far end.
        chunk: prompts at once; by default as many as the memory budget allows.
        on_window: called with the number of windows prepared so far and of all windows.

    Yields:
        Number of the prompt and its probability (X, Y, Z), float32 on the CPU.
    """
    settings = model.preset.inference
    window = window or window_of(crop.shape, model.preset)
    fill = [max(0, w - n) for n, w in zip(crop.shape, window, strict=True)]
    volume = torch.nn.functional.pad(crop, (0, fill[2], 0, fill[1], 0, fill[0]))
    weights = window_weights(window, settings.blending)
    x, y, z = crop.shape
    chunk = chunk or prompts_at_once(
        settings, volume.numel(), weights.numel(), model.maps_per_prompt
    )
    walks = -(-len(prompts) // chunk)
    with model.windows(volume, window, on_window, walks=walks) as windows:
        total = total_weights(triple(volume.shape), windows.corners, weights)
        on_device = weights.to(model.device)
        for start in range(0, len(prompts), chunk):
            part = prompts[start : start + chunk]
            blended = torch.zeros(len(part), *volume.shape)
            for corners, found in windows:
                with torch.inference_mode():
                    weighted = (model.answers(found, part) * on_device).cpu()
                for (a, b, c), answer in zip(corners, weighted, strict=True):
                    blended[:, a : a + window[0], b : b + window[1], c : c + window[2]] += answer
                # Otherwise they stay until the next windows and the next prompts have theirs.
                del weighted, answer
            for row in range(len(part)):
                yield start + row, (blended[row] / total)[:x, :y, :z]
            del blended


def segment_masks(
    model: SegmentationModel,
    image: Volume,
    modality: Modality,
    names: Sequence[str],
    prompts: Tensor,
    *,
    chunk: int | None = None,
    on_done: Callable[[str], None] | None = None,
    on_window: Callable[[int, int], None] | None = None,
    axes: AxisOrder | None = None,
) -> Prediction:
    """Segment an image by prompts, each answered by itself.

    Args:
        model: in evaluation mode.
        image: (x, y, z) in RAS with its affine.
        modality: of the image.
        names: what the classes are called in the answer.
        prompts: (N, ...) as `model.answers` takes them, in the same order.
        chunk: prompts at once; the answer does not depend on it.
        on_done: called with each name when it is finished.
        on_window: called with the number of windows prepared so far and of all windows.
        axes: axis order of the own grid; by default as `Grid.order_for` says.

    Returns:
        Layers on the native grid, kind `direct`, and the same on the model's own grid, which
        covers the whole native extent.
    """
    preset = model.preset
    axes = axes or preset.grid.order_for(image.spacing_mm)
    image = turned(image, axes)
    prepared = own_image(image, modality, preset.grid)
    grid, origin = prepared.grid, prepared.origin
    native, own = LayerPacker(grid.native_shape), LayerPacker(grid.own_shape)
    same = GridMap(grid.own_shape, grid.own_mm, grid.own_mm)
    if names:
        maps = blended_probabilities(
            model, prepared.crop, prompts, chunk=chunk, on_window=on_window
        )
        for number, probability in maps:
            decision = decision_map(probability, preset.inference.interpolate)
            native.add(names[number], "direct", to_native(decision, origin, grid))
            own.add(names[number], "direct", to_native(decision, origin, same))
            give_back_free_memory()
            if on_done is not None:
                on_done(names[number])
    return Prediction(
        turned_back(native.segmentation(image.affine), axes),
        turned_back(own.segmentation(grid.own_affine(image.affine)), axes),
    )


def segment_labels(
    model: SegmentationModel,
    image: Volume,
    modality: Modality,
    prompts: Tensor,
    axes: AxisOrder | None = None,
) -> NDArray[np.uint8]:
    """The label of every voxel (x, y, z) on the native grid: the number of its likeliest prompt.

    `axes` as for `segment_masks`.

    Raises:
        BenchError: see `crop_and_normalise`.
    """
    axes = axes or model.preset.grid.order_for(image.spacing_mm)
    prepared = own_image(turned(image, axes), modality, model.preset.grid)
    answer = LabelMap(prepared.origin, prepared.grid)
    for label, probability in blended_probabilities(model, prepared.crop, prompts):
        answer.add(label, decision_map(probability, model.preset.inference.interpolate))
    return array_turned_back(answer.labels, axes)
