"""Training samples: which case, which crop, what it is asked for.

Everything random is drawn from a generator keyed by (seed, step, sample), so sample i of step n
is the same whatever happened before, in whichever process and batch: a resumed training sees
exactly what an undisturbed one would have seen, and two processes see together what one with
twice the batch sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evaluation.files.reading import array_of
from evaluation.training.augmentation import augment
from evaluation.training.draws import CropDraws, Draw, Group
from evaluation.training.grid import padded_shape
from evaluation.training.sampling import choose_centre, place_crop
from evaluation.training.settings import Training, TrainingPreset, Triple
from evaluation.training.tasks import Targets, Tasks


@dataclass(frozen=True)
class Batch:
    """Crops of one size, each with its own tasks.

    Attributes:
        datasets: id of each crop's entry.
        image: (B, 1, X, Y, Z) float32.
        targets: (B, T, X, Y, Z): a mask for each task (bool), or a map of labels (uint8, T = 1).
        prompts: (B, P) rows of the tasks.
        valid: (B, P) false for padding and for classes without annotation in that case.
        sequences: of each crop's scan, None where it has none.
    """

    datasets: tuple[str, ...]
    image: Tensor
    targets: Tensor
    prompts: Tensor
    valid: Tensor
    sequences: tuple[str | None, ...] = ()

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; torch's loader asks for it."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            image=change(self.image),
            targets=change(self.targets),
            prompts=change(self.prompts),
            valid=change(self.valid),
        )


@dataclass(frozen=True)
class Sample:
    """One crop (1, X, Y, Z) and what it is asked for."""

    dataset: str
    image: Tensor
    targets: Targets
    sequence: str | None = None


class CropDataset(Dataset[list[Batch]]):
    """Batch number k of a training, for any k: step k // batches, its k % batches-th batch.

    Args:
        store: the prepared store.
        groups: what to draw from.
        tasks: what crops are asked for.
        preset: sizes and sampling.
        seed: seed of the run.
        crops: samples of one step, of all processes together; a multiple of the batch.
    """

    def __init__(
        self,
        store: Path,
        groups: Sequence[Group],
        tasks: Tasks,
        preset: TrainingPreset,
        seed: int,
        crops: int | None = None,
    ) -> None:
        training = preset.training
        self._store, self._tasks, self._preset = store, tasks, preset
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
        patch, stride = self._preset.training.patch, self._preset.stride
        if self._preset.fills_patch:
            return patch
        sizes = [
            padded_shape(self._draws.draw(step, mate).record.shape, patch, stride, False)
            for mate in self._draws.mates(number, self._crops)
        ]
        return max(s[0] for s in sizes), max(s[1] for s in sizes), max(s[2] for s in sizes)

    def _read(self, drawn: Draw, size: Triple) -> Sample:
        group, record, random = drawn.group, drawn.record, drawn.random
        folder = self._store / record.dataset / record.case
        sampling = self._preset.training.sampling
        points = array_of(folder / "points.npy", mapped=True)
        centre, _ = choose_centre(
            points, record, group.classes, sampling, size, random, drawn.centred_p
        )
        crop, offset = place_crop(record.shape, size, centre, sampling.jitter, random)
        image = np.zeros(size, dtype=np.float32)
        inside = tuple(slice(o, o + c.stop - c.start) for o, c in zip(offset, crop, strict=True))
        image[inside] = array_of(folder / "image.npy", mapped=True)[crop]
        stored = array_of(folder / "layers.npy", mapped=True)[(slice(None), *crop)]
        layers = np.zeros((len(stored), *size), dtype=stored.dtype)
        layers[(slice(None), *inside)] = stored
        changed, labels = augment(
            torch.from_numpy(image)[None], layers, self._preset.training.augmentation, random
        )
        targets = self._tasks.targets(labels, record, group.classes, random)
        return Sample(group.dataset, changed, targets, record.sequence)


def read_ahead(
    dataset: CropDataset, numbers: Sequence[int], training: Training
) -> Iterator[list[Batch]]:
    """The batches of these numbers in their order, read by `training.workers` processes."""
    if training.workers == 0:
        return (dataset[number] for number in numbers)
    loader: DataLoader[list[Batch]] = DataLoader(
        dataset,
        batch_size=None,
        sampler=numbers,
        num_workers=training.workers,
        pin_memory=training.device == "cuda",
    )
    return iter(loader)


def stack(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as one batch; shorter lists of tasks are filled up as not valid."""
    targets, rows, valid = zip(*(sample.targets for sample in samples), strict=True)
    image = torch.stack([sample.image for sample in samples])
    datasets = tuple(sample.dataset for sample in samples)
    sequences = tuple(sample.sequence for sample in samples)
    return Batch(datasets, image, _filled(targets), _filled(rows), _filled(valid), sequences)


def _filled(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors (N, ...) of different N as one (B, largest N, ...), zeros at the end of each."""
    width = max(len(tensor) for tensor in tensors)
    filled = tensors[0].new_zeros(len(tensors), width, *tensors[0].shape[1:])
    for row, tensor in zip(filled, tensors, strict=True):
        row[: len(tensor)] = tensor
    return filled
