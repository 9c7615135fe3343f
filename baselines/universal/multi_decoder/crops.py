"""Training crops: sample k of step n is the same whatever happened before.

Everything random comes from generators keyed by (seed, step, sample), so a resumed training sees
exactly what an undisturbed one would have seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.universal.multi_decoder.config import Augmentation, Training, Triple
from baselines.universal.multi_decoder.prepare import PreparedCase, PreparedEntry, PreparedIndex


@dataclass(frozen=True)
class Batch:
    """Crops of one or several entries.

    Attributes:
        image: (B, 1, X, Y, Z) float32, normalised.
        labels: (B, X, Y, Z) int64, leaf labels of the sample's own entry.
        entries: the entry of each sample.
    """

    image: Tensor
    labels: Tensor
    entries: tuple[str, ...]


class CropSampler:
    """Draws the batch of any step from a prepared store."""

    def __init__(self, store: Path, index: PreparedIndex, training: Training, seed: int) -> None:
        self._store, self._entries, self._training = store, index.entries, training
        self._seed = seed
        weights = np.array([entry_weight(e, training.entry_balance) for e in index.entries])
        self._chances = weights / weights.sum()
        self._augment = augmentation(training.augmentation, training.patch)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        images, labels, entries = [], [], []
        shared = self._draw_entry(np.random.default_rng([self._seed, step]))
        for sample in range(self._training.batch):
            random = np.random.default_rng([self._seed, step, sample])
            entry = self._draw_entry(random) if self._training.mixed_batches else shared
            case = entry.cases[int(random.integers(len(entry.cases)))]
            image, label = self._crop(entry.dataset, case, random)
            images.append(image)
            labels.append(label)
            entries.append(entry.dataset)
        return Batch(torch.stack(images), torch.stack(labels), tuple(entries))

    def _draw_entry(self, random: np.random.Generator) -> PreparedEntry:
        return self._entries[int(random.choice(len(self._entries), p=self._chances))]

    def _crop(
        self, dataset: str, case: PreparedCase, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        folder, patch = self._store / dataset / case.case, self._training.patch
        centre = None
        if random.random() < self._training.foreground_p:
            points = np.load(folder / "points.npy", mmap_mode="r")
            if len(points):
                # A label first, then a voxel of it: small structures are seen as often as large.
                value = random.choice(np.unique(points[:, 0]))
                rows = np.flatnonzero(points[:, 0] == value)
                centre = points[int(random.choice(rows)), 1:]
        read, put = place_crop(case.shape, patch, centre, random)
        image = np.zeros(patch, np.float32)
        labels = np.zeros(patch, np.int64)
        image[put] = np.load(folder / "image.npy", mmap_mode="r")[read]
        labels[put] = np.load(folder / "labels.npy", mmap_mode="r")[read]
        if self._augment is None:
            return torch.from_numpy(image)[None], torch.from_numpy(labels)
        # The library draws from the two global generators.
        seed = int(random.integers(2**32))
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        changed = self._augment(
            image=torch.from_numpy(image)[None],
            segmentation=torch.from_numpy(labels.astype(np.int16))[None],
        )
        return changed["image"].float(), changed["segmentation"][0].long()


def entry_weight(entry: PreparedEntry, balance: str) -> float:
    """Chance of an entry, not normalised."""
    if balance == "sqrt-classes":
        return math.sqrt(entry.n_labels - 1)
    if balance == "sqrt-cases":
        return math.sqrt(len(entry.cases))
    return 1.0


def place_crop(
    shape: Triple, patch: Triple, centre: Any, random: np.random.Generator
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which voxels of a volume to read, and where they go in the patch.

    Around `centre` (x, y, z), moved inside the volume; anywhere if that is None. A volume that is
    smaller than the patch lies anywhere in it, with zeros around.
    """
    read, put = [], []
    for axis, (n, size) in enumerate(zip(shape, patch, strict=True)):
        room = n - size
        if room <= 0:
            start = int(random.integers(-room + 1))
            read.append(slice(0, n))
            put.append(slice(start, start + n))
            continue
        start = int(random.integers(room + 1))
        if centre is not None:
            start = min(max(int(centre[axis]) - size // 2, 0), room)
        read.append(slice(start, start + size))
        put.append(slice(0, size))
    return tuple(read), tuple(put)


def augmentation(settings: Augmentation, patch: Triple) -> Any:
    """The changes as one transform of the library that nnU-Net uses; None if there are none."""
    if not settings.spatial_p and not settings.intensity_p:
        return None
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    turn = math.radians(settings.rotation_degrees)
    intensities = [
        MultiplicativeBrightnessTransform((0.7, 1.3), synchronize_channels=False),
        GammaTransform(
            (0.7, 1.5), 0.0, synchronize_channels=False, p_per_channel=1, p_retain_stats=1
        ),
        ContrastTransform((0.7, 1.3), preserve_range=True, synchronize_channels=False),
        GaussianBlurTransform((0.5, 1.0)),
        GaussianNoiseTransform((0, 0.1)),
    ]
    spatial = SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=settings.spatial_p,
        rotation=(-turn, turn),
        p_scaling=settings.spatial_p,
        scaling=(1 - settings.zoom, 1 + settings.zoom),
        p_synchronize_scaling_across_axes=1,
        mode_seg="nearest",
    )
    return ComposeTransforms(
        [spatial, *(RandomTransform(change, settings.intensity_p) for change in intensities)]
    )
