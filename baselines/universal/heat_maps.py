"""Posterior prototypes as heat maps (the document's Fig. 2): where an image is like each task.

The likeness of a voxel is the dot product of a task's posterior prototype with the decoder's
feature there. That is the logit of the task's mask, so 0 is where the mask ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.universal.entries import Entry
from baselines.universal.masks import HermesModel, with_null
from baselines.universal.networks.hermes import Hermes
from evaluation.cases import read_image_case, read_reference
from evaluation.paths import RunPaths
from evaluation.training.grid import resample_labels, triple
from evaluation.training.predict import own_image, window_of
from evaluation.training.windows import total_weights, window_weights
from evaluation.volumes.axes import along_ras, array_turned_back, turned, turned_masks


@dataclass(frozen=True)
class HeatMaps:
    """A case on the network's own grid, its axes towards R, A, S.

    Args:
        dataset: its entry.
        case: its id.
        names: tasks, in the order of the maps.
        image: (x, y, z), normalised.
        maps: (task, x, y, z), logits.
        references: (task, x, y, z), annotated masks; empty where a task is not annotated.
        spacing_mm: of the grid.
    """

    dataset: str
    case: str
    names: tuple[str, ...]
    image: NDArray[np.float32]
    maps: NDArray[np.float32]
    references: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


def likeness_maps(network: Hermes, image: Tensor, tasks: Tensor, modalities: Tensor) -> Tensor:
    """Dot products (B, n, X, Y, Z) of the posterior prototypes with the decoder's feature.

    Args:
        network: Hermes-R or Hermes-M.
        image: (B, 1, X, Y, Z).
        tasks: (B, n) rows of the task tables.
        modalities: (B,) rows of the modality tables.
    """
    prototypes, feature = network.prototypes(image, tasks, modalities)
    return torch.einsum("bnc,bcxyz->bnxyz", prototypes, feature)


def heat_maps(model: HermesModel, paths: RunPaths, dataset: str, case: str) -> HeatMaps:
    """The maps of a case of a run, for all tasks of its entry.

    Windows are blended as those of a prediction, but their logits instead of the probabilities.
    """
    entry = model.known.of(dataset)
    assert entry is not None
    image = read_image_case(paths.case(dataset, case))
    axes = image.grid_axes
    own = own_image(turned(image.image(), axes), image.modality, model.preset.grid)
    box = tuple(slice(o, o + n) for o, n in zip(own.origin, own.crop.shape, strict=True))
    reference = turned_masks(read_reference(paths.case(dataset, case))[1], axes)
    masks = [
        resample_labels(reference.mask(name).astype(np.uint8), own.grid)[box] > 0
        if name in reference.classes
        else np.zeros(tuple(own.crop.shape), dtype=bool)
        for name in entry.classes
    ]
    maps = _blended(model, own.crop, entry, image.sequence).numpy()
    return HeatMaps(
        dataset=dataset,
        case=case,
        names=entry.classes,
        image=array_turned_back(own.crop.numpy(), axes),
        maps=np.stack([array_turned_back(found, axes) for found in maps]),
        references=np.stack([array_turned_back(mask, axes) for mask in masks]),
        spacing_mm=along_ras(own.grid.own_mm, axes),
    )


def _blended(model: HermesModel, crop: Tensor, entry: Entry, sequence: str | None) -> Tensor:
    window = window_of(crop.shape, model.preset)
    fill = [max(0, w - n) for n, w in zip(crop.shape, window, strict=True)]
    volume = functional.pad(crop, (0, fill[2], 0, fill[1], 0, fill[0]))
    weights = window_weights(window, model.preset.inference.blending)
    blended = torch.zeros(len(entry.classes), *volume.shape)
    with model.windows(volume, window) as windows, torch.inference_mode():
        total = total_weights(triple(volume.shape), windows.corners, weights)
        for corners, images in windows:
            tasks = torch.tensor([entry.tokens], device=images.device).expand(len(images), -1)
            modality = entry.modality_of(sequence)
            modalities = torch.full((len(images),), modality, device=images.device)
            maps = likeness_maps(model.network, images, with_null(tasks), modalities)[:, :-1].cpu()
            for corner, found in zip(corners, maps, strict=True):
                place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
                blended[(slice(None), *place)] += found * weights
    x, y, z = crop.shape
    return (blended / total)[:, :x, :y, :z]


def best_slice(maps: HeatMaps, task: int) -> int:
    """The coronal slice that shows most of a task: of its reference, else of its map."""
    reference = maps.references[task]
    shown = reference if reference.any() else maps.maps[task] > 0
    return int(shown.sum(axis=(0, 2)).argmax()) if shown.any() else shown.shape[1] // 2


def chosen_case(paths: RunPaths, dataset: str, names: Sequence[str], cases: Sequence[str]) -> str:
    """The case that shows most of an entry's tasks, the first of several."""

    def shown(case: str) -> int:
        _, reference = read_reference(paths.case(dataset, case))
        return sum(name in reference.classes and bool(reference.mask(name).any()) for name in names)

    return max(cases, key=shown)
