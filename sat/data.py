"""Training samples: which case, which crop, which prompts.

Everything random is drawn from a generator keyed by (seed, step, sample), so sample k of step n
is the same whatever happened before, in whichever process: a resumed training sees exactly what
an undisturbed one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evaluation.cases import Modality
from evaluation.errors import BenchError
from evaluation.io import Array
from sat.augment import augment
from sat.config import Preset, Sampling, Triple
from sat.grid import padded_shape
from sat.prepare import PreparedEntry, PreparedIndex, PreparedRecord, read_record
from sat.prompts import Key

_GROUP_STREAM, _SAMPLE_STREAM = 0, 1


@dataclass(frozen=True)
class Group:
    """An entry, or one specialist's part of it: cases that share a list of prompts.

    Attributes:
        weight: chance of the group, not normalised.
        case_weights: chance of each case in the group, summing to one.
    """

    dataset: str
    modality: Modality
    classes: tuple[str, ...]
    cases: tuple[PreparedRecord, ...]
    weight: float
    case_weights: tuple[float, ...]


@dataclass(frozen=True)
class Batch:
    """Crops of one group.

    Attributes:
        dataset: id of the entry.
        image: (B, 1, X, Y, Z) float32.
        targets: (B, P, X, Y, Z) bool.
        prompts: (B, P) rows of the prompt book.
        valid: (B, P) false for padding and for classes without annotation in that case.
    """

    dataset: str
    image: Tensor
    targets: Tensor
    prompts: Tensor
    valid: Tensor


def training_groups(store: Path, index: PreparedIndex, preset: Preset) -> list[Group]:
    """The groups of a prepared store with their chances."""
    groups: list[Group] = []
    sampling = preset.training.sampling
    for entry in index.entries:
        records = []
        for case in entry.cases:
            record = read_record(store / entry.dataset / case)
            if record is None:
                raise BenchError(
                    "a prepared case is missing",
                    file=store / entry.dataset / case,
                    hint="run `satbench sat prepare` again",
                )
            records.append(record)
        lists = _class_lists(entry, sampling)
        groups.extend(_group(entry, classes, records, preset) for classes in lists)
    if not groups:
        raise BenchError("the prepared store holds no case to train on", file=store)
    return groups


def _class_lists(entry: PreparedEntry, sampling: Sampling) -> list[tuple[str, ...]]:
    """One list, or one a specialist; classes of no specialist join the first."""
    parts = {
        name: [c for c in entry.classes if c in classes]
        for name, classes in entry.specialists.items()
    }
    lists = [part for part in parts.values() if part]
    if not sampling.split_by_specialist or len(lists) < 2:
        return [entry.classes]
    rest = [c for c in entry.classes if not any(c in part for part in lists)]
    lists[0] = [*lists[0], *rest]
    return [tuple(part) for part in lists]


def _group(
    entry: PreparedEntry,
    classes: tuple[str, ...],
    records: Sequence[PreparedRecord],
    preset: Preset,
) -> Group:
    sampling = preset.training.sampling
    wanted = set(classes)
    usable = [r for r in records if wanted.intersection(r.points)] or list(records)
    repeats = [
        _repeat(r, len(classes), preset.training.patch) if sampling.volume_repeat else 1.0
        for r in usable
    ]
    weight = sampling.entry_factors.get(entry.dataset, 1.0)
    if sampling.entry_balance == "sqrt":
        weight *= sum(repeats) / math.sqrt(len(usable))
    total = sum(repeats)
    return Group(
        dataset=entry.dataset,
        modality=entry.modality,
        classes=classes,
        cases=tuple(usable),
        weight=weight,
        case_weights=tuple(r / total for r in repeats),
    )


def _repeat(record: PreparedRecord, n_classes: int, patch: Triple) -> float:
    """How often a volume counts: its labelled extent in patches, times its classes over 32."""
    extent = math.prod(max(1.0, size / p) for size, p in zip(record.label_size, patch, strict=True))
    return float(round(max(1.0, n_classes / 32) * extent))


class CropDataset(Dataset[Batch]):
    """Batch number n of a training, for any n.

    Args:
        store: the prepared store.
        groups: what to draw from.
        rows: row of the prompt book for each (modality, name).
        preset: sizes and sampling.
        seed: seed of the run.
    """

    def __init__(
        self,
        store: Path,
        groups: Sequence[Group],
        rows: dict[Key, int],
        preset: Preset,
        seed: int,
    ) -> None:
        self._store, self._groups, self._rows = store, list(groups), rows
        self._preset, self._seed = preset, seed
        weights = np.array([group.weight for group in groups], dtype=np.float64)
        self._chances = weights / weights.sum()

    def __getitem__(self, number: int) -> Batch:
        """Batch `number` (the optimiser's step, or one of its accumulated parts)."""
        random = np.random.default_rng([self._seed, _GROUP_STREAM, number])
        group = self._groups[int(random.choice(len(self._groups), p=self._chances))]
        training = self._preset.training
        picks = []
        for sample in range(training.batch):
            random = np.random.default_rng([self._seed, _SAMPLE_STREAM, number, sample])
            record = group.cases[int(random.choice(len(group.cases), p=group.case_weights))]
            picks.append((record, random))
        stride = self._preset.network.total_stride
        sizes = [
            padded_shape(r.shape, training.patch, stride, training.pad_to == "patch")
            for r, _ in picks
        ]
        size = (max(s[0] for s in sizes), max(s[1] for s in sizes), max(s[2] for s in sizes))
        samples = [self._sample(group, record, size, random) for record, random in picks]
        return self._stack(group, samples)

    def _sample(
        self, group: Group, record: PreparedRecord, size: Triple, random: np.random.Generator
    ) -> tuple[Tensor, Tensor, list[str], list[bool]]:
        folder = self._store / record.dataset / record.case
        sampling = self._preset.training.sampling
        centre = choose_centre(folder, record, group.classes, sampling, random)
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
        names = choose_prompts(group.classes, record, labels, sampling, random)
        targets = np.stack([class_mask(labels, record, name) for name in names])
        valid = [name not in record.not_annotated for name in names]
        return changed, torch.from_numpy(targets), names, valid

    def _stack(
        self, group: Group, samples: list[tuple[Tensor, Tensor, list[str], list[bool]]]
    ) -> Batch:
        width = max(len(names) for _, _, names, _ in samples)
        prompts = torch.zeros(len(samples), width, dtype=torch.long)
        valid = torch.zeros(len(samples), width, dtype=torch.bool)
        shape = samples[0][0].shape[1:]
        targets = torch.zeros(len(samples), width, *shape, dtype=torch.bool)
        for row, (_, masks, names, annotated) in enumerate(samples):
            prompts[row, : len(names)] = torch.tensor(
                [self._rows[group.modality, name] for name in names]
            )
            valid[row, : len(names)] = torch.tensor(annotated)
            targets[row, : len(names)] = masks
        image = torch.stack([image for image, _, _, _ in samples])
        return Batch(group.dataset, image, targets, prompts, valid)


def choose_centre(
    folder: Path,
    record: PreparedRecord,
    classes: Sequence[str],
    sampling: Sampling,
    random: np.random.Generator,
) -> Triple:
    """A foreground voxel to centre the crop on.

    With `class_first_p` a present class is drawn evenly and then a voxel of it, which serves
    small targets; otherwise any foreground voxel, large classes being likelier. Without any
    foreground, any voxel.
    """
    present = [name for name in classes if name in record.points]
    if not present:
        x, y, z = (int(random.integers(n)) for n in record.shape)
        return x, y, z
    chances = None
    if random.random() >= sampling.class_first_p:
        voxels = np.array([record.points[name].voxels for name in present], dtype=np.float64)
        chances = voxels / voxels.sum()
    points = record.points[present[int(random.choice(len(present), p=chances))]]
    row = points.start + int(random.integers(points.count))
    x, y, z = (int(v) for v in np.load(folder / "points.npy", mmap_mode="r")[row])
    return x, y, z


def place_crop(
    shape: Triple, size: Triple, centre: Triple, jitter: float, random: np.random.Generator
) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """Slices of the volume to read, and where they go in the crop.

    The crop is centred, moved at random by `jitter` half patches and shifted inside the volume.
    A smaller volume lies at the near end with zeros at the far end, or, with jitter, anywhere.
    """
    crop, offset = [], []
    for n, s, c in zip(shape, size, centre, strict=True):
        if n <= s:
            crop.append(slice(0, n))
            offset.append(int(random.integers(s - n + 1)) if jitter else 0)
            continue
        shift = random.uniform(-jitter, jitter) * s / 2 if jitter else 0.0
        start = min(max(round(c - s / 2 + shift), 0), n - s)
        crop.append(slice(start, start + s))
        offset.append(0)
    return tuple(crop), tuple(offset)


def choose_prompts(
    classes: Sequence[str],
    record: PreparedRecord,
    layers: Array,
    sampling: Sampling,
    random: np.random.Generator,
) -> list[str]:
    """All classes of the group; or present ones first, then some absent ones, up to a maximum."""
    if sampling.max_prompts is None:
        return list(classes)
    values = [set(np.unique(layer).tolist()) for layer in layers]
    present: list[str] = []
    absent: list[str] = []
    for name in classes:
        place = record.classes.get(name)
        shown = place and any(values[p.layer].intersection(p.values) for p in place.parts)
        (present if shown else absent).append(name)
    if not present:
        return [absent[i] for i in random.permutation(len(absent))[: sampling.max_prompts]]
    first = [present[i] for i in random.permutation(len(present))[: sampling.max_prompts]]
    room = min(sampling.max_prompts - len(first), math.ceil(sampling.absent_ratio * len(first)))
    return first + [absent[i] for i in random.permutation(len(absent))[:room]]


def class_mask(layers: Array, record: PreparedRecord, name: str) -> Array:
    """Boolean mask (X, Y, Z) of a class in a crop of layers (L, X, Y, Z); none if not annotated."""
    mask = np.zeros(layers.shape[1:], dtype=bool)
    place = record.classes.get(name)
    for part in place.parts if place else ():
        table = np.zeros(int(np.iinfo(layers.dtype).max) + 1, dtype=bool)
        table[list(part.values)] = True
        mask |= table[layers[part.layer]]
    return mask
