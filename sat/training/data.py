"""Training samples: which case, which crop, which prompts.

Everything random is drawn from a generator keyed by (seed, step, sample), so sample i of step n
is the same whatever happened before, in whichever process and batch: a resumed training sees
exactly what an undisturbed one would have seen, and two processes see together what one with
twice the batch sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evaluation.volumes.image_files import Array
from sat.config import Preset, Triple
from sat.grid import padded_shape
from sat.text.prompts import Key
from sat.training.augment import augment
from sat.training.groups import CropDraws, Draw, Group
from sat.training.sampling import choose_centre, choose_prompts, place_crop
from sat.training.store import PreparedRecord


@dataclass(frozen=True)
class Batch:
    """Crops of one size, each with its own prompts.

    Attributes:
        datasets: id of each crop's entry.
        image: (B, 1, X, Y, Z) float32.
        targets: (B, P, X, Y, Z) bool.
        prompts: (B, P) rows of the prompt book.
        valid: (B, P) false for padding and for classes without annotation in that case.
    """

    datasets: tuple[str, ...]
    image: Tensor
    targets: Tensor
    prompts: Tensor
    valid: Tensor

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; torch's loader asks for it."""
        tensors = (self.image, self.targets, self.prompts, self.valid)
        return Batch(self.datasets, *(tensor.pin_memory() for tensor in tensors))


@dataclass(frozen=True)
class Sample:
    """One crop (1, X, Y, Z) with its prompts: rows of the book, masks, and which are annotated."""

    dataset: str
    image: Tensor
    targets: Tensor
    prompts: Tensor
    valid: Tensor


class CropDataset(Dataset[list[Batch]]):
    """Batch number k of a training, for any k: step k // batches, its k % batches-th batch.

    Args:
        store: the prepared store.
        groups: what to draw from.
        rows: row of the prompt book for each (modality, name).
        preset: sizes and sampling.
        seed: seed of the run.
        crops: samples of one step, of all processes together; a multiple of the batch.
    """

    def __init__(
        self,
        store: Path,
        groups: Sequence[Group],
        rows: Mapping[Key, int],
        preset: Preset,
        seed: int,
        crops: int | None = None,
    ) -> None:
        training = preset.training
        self._store, self._rows, self._preset = store, dict(rows), preset
        self._draws = CropDraws(groups, training.sampling, training.steps, seed)
        self._crops = crops or training.batch

    def __getitem__(self, number: int) -> list[Batch]:
        """The crops of a batch, those of one size stacked."""
        batch = self._preset.training.batch
        step, part = divmod(number, self._crops // batch)
        samples = [self.sample(step, part * batch + i) for i in range(batch)]
        by_size: dict[torch.Size, list[Sample]] = {}
        for sample in samples:
            by_size.setdefault(sample.image.shape, []).append(sample)
        return [stack(alike) for alike in by_size.values()]

    def sample(self, step: int, number: int) -> Sample:
        """Sample `number` of a step."""
        drawn = self._draws.draw(step, number)
        return self._read(drawn, self._size(step, number))

    def _size(self, step: int, number: int) -> Triple:
        """Large enough for all samples that may be stacked with this one, in whichever batch."""
        training, stride = self._preset.training, self._preset.network.total_stride
        if training.pad_to == "patch":
            return training.patch
        sizes = [
            padded_shape(self._draws.draw(step, mate).record.shape, training.patch, stride, False)
            for mate in self._draws.mates(number, self._crops)
        ]
        return max(s[0] for s in sizes), max(s[1] for s in sizes), max(s[2] for s in sizes)

    def _read(self, drawn: Draw, size: Triple) -> Sample:
        group, record, random = drawn.group, drawn.record, drawn.random
        folder = self._store / record.dataset / record.case
        sampling = self._preset.training.sampling
        points = np.load(folder / "points.npy", mmap_mode="r")
        centre, _ = choose_centre(points, record, group.classes, sampling, size, random)
        crop, offset = place_crop(record.shape, size, centre, sampling.jitter, random)
        image = np.zeros(size, dtype=np.float32)
        inside = tuple(slice(o, o + c.stop - c.start) for o, c in zip(offset, crop, strict=True))
        image[inside] = np.load(folder / "image.npy", mmap_mode="r")[crop]
        stored = np.load(folder / "layers.npy", mmap_mode="r")[(slice(None), *crop)]
        layers = np.zeros((len(stored), *size), dtype=stored.dtype)
        layers[(slice(None), *inside)] = stored
        changed, labels = augment(
            torch.from_numpy(image)[None], layers, self._preset.training.augmentation, random
        )
        shown = classes_in(labels, record, group.classes)
        names = choose_prompts(group.classes, shown, sampling, random)
        return Sample(
            dataset=group.dataset,
            image=changed,
            targets=torch.from_numpy(np.stack([class_mask(labels, record, n) for n in names])),
            prompts=torch.tensor([self._rows[group.modality, name] for name in names]),
            valid=torch.tensor([name not in record.not_annotated for name in names]),
        )


def stack(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as one batch; shorter lists of prompts are filled up as not valid."""
    width = max(len(sample.prompts) for sample in samples)
    prompts = torch.zeros(len(samples), width, dtype=torch.long)
    valid = torch.zeros(len(samples), width, dtype=torch.bool)
    targets = torch.zeros(len(samples), width, *samples[0].image.shape[1:], dtype=torch.bool)
    for row, sample in enumerate(samples):
        n = len(sample.prompts)
        prompts[row, :n], valid[row, :n], targets[row, :n] = (
            sample.prompts, sample.valid, sample.targets,
        )  # fmt: skip
    image = torch.stack([sample.image for sample in samples])
    return Batch(tuple(sample.dataset for sample in samples), image, targets, prompts, valid)


def classes_in(layers: Array, record: PreparedRecord, classes: Sequence[str]) -> dict[str, bool]:
    """For each class whether a crop of layers (L, X, Y, Z) shows it."""
    values = [set(np.unique(layer).tolist()) for layer in layers]
    places = {name: record.classes.get(name) for name in classes}
    return {
        name: place is not None
        and any(values[part.layer].intersection(part.values) for part in place.parts)
        for name, place in places.items()
    }


def class_mask(layers: Array, record: PreparedRecord, name: str) -> Array:
    """Boolean mask (X, Y, Z) of a class in a crop of layers (L, X, Y, Z); none if not annotated."""
    mask = np.zeros(layers.shape[1:], dtype=bool)
    place = record.classes.get(name)
    for part in place.parts if place else ():
        table = np.zeros(int(np.iinfo(layers.dtype).max) + 1, dtype=bool)
        table[list(part.values)] = True
        mask |= table[layers[part.layer]]
    return mask
