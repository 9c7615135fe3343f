"""What a training draws, as pure functions (SAT's paper, section 5).

Whatever is random comes from a generator that the caller gives; nothing here keeps a state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.training.settings import Sampling, Triple
from evaluation.training.store import PreparedRecord
from evaluation.volumes.image_files import Array

Floats = NDArray[np.float64]
# The paper's maximum of prompts, by which it scales the repeats of a volume.
PROMPTS_OF_PAPER = 32


def volume_weight(n: int) -> float:
    """Weight of one volume of a dataset with n training volumes: 1 / sqrt(n).

    A whole dataset so weighs n / sqrt(n) = sqrt(n): large ones come more often than small ones,
    but less than in proportion to their size.
    """
    return 1.0 / math.sqrt(n)


def volume_repeats(size: Sequence[int], n_classes: int, patch: Sequence[int]) -> int:
    """R = round(max(1, M / 32) * product over the axes of max(1, size / patch)).

    Args:
        size: extent of all labels on the own grid, voxels.
        n_classes: M, classes of the volume's entry.
        patch: crop in voxels.

    Returns:
        How often a volume counts, at least once. The paper prints HWD / (288 * 288 * 96) * M / 32
        without a lower bound, which is below 1 for most scans; bounds, extent and rounding are
        those of the authors' code.
    """
    extent = math.prod(max(1.0, s / p) for s, p in zip(size, patch, strict=True))
    return round(max(1.0, n_classes / PROMPTS_OF_PAPER) * extent)


def group_weight(
    repeats: Sequence[float], balance: str, factor: float = 1.0, n_classes: int = 1
) -> float:
    """Chance of a group of volumes, not normalised.

    `sqrt`: factor * sum over the volumes of R / sqrt(n), the sum of what its volumes weigh;
    `cases`: factor * sum of R; `sqrt-classes`: factor * the square root of its classes; `equal`:
    factor alone.
    """
    if balance == "equal":
        return factor
    if balance == "sqrt-classes":
        return factor * math.sqrt(n_classes)
    if balance == "cases":
        return factor * sum(repeats)
    return factor * sum(repeats) * volume_weight(len(repeats))


def joined_chances(weights: Sequence[float], joins: Sequence[float], progress: float) -> Floats:
    """Chance of each group when a part `progress` of the steps is done, summing to one.

    A group takes part from progress >= its `joins` on: weight / (sum of the weights that take
    part). Before anything has joined, those that join first take part. Depends on nothing else,
    so a resumed training draws as an undisturbed one.
    """
    start = np.asarray(joins, dtype=np.float64)
    taking = start <= max(progress, float(start.min()))
    chances = np.where(taking, np.asarray(weights, dtype=np.float64), 0.0)
    result: Floats = chances / chances.sum()
    return result


def class_chances(
    record: PreparedRecord, classes: Sequence[str], class_first_p: float
) -> dict[str, float]:
    """Chance that a foreground voxel of each class is drawn, over the classes that are there.

    With m classes of v_c voxels: p / m + (1 - p) * v_c / (sum of v). The first part serves small
    targets, in the second large classes are likelier.
    """
    present = [name for name in classes if name in record.points]
    voxels = np.array([record.points[name].voxels for name in present], dtype=np.float64)
    if not present:
        return {}
    chances = class_first_p / len(present) + (1 - class_first_p) * voxels / voxels.sum()
    return dict(zip(present, (float(c) for c in chances), strict=True))


def choose_centre(
    points: Array,
    record: PreparedRecord,
    classes: Sequence[str],
    sampling: Sampling,
    size: Triple,
    random: np.random.Generator,
    centred_p: float,
) -> tuple[Triple, str | None]:
    """The voxel to centre a crop on, and the class it was drawn for.

    Candidates are foreground voxels drawn by `class_chances`. Of several, one wins with the
    chance n / (sum of n), n being the number of classes that a crop centred there shows.
    A crop that is not centred lies anywhere, all places alike; one that should be and finds no
    foreground in its case is centred on any voxel.

    Args:
        points: (N, 3), sampled voxels of the case, class by class.
        record: the case.
        classes: classes of the group.
        sampling: `class_first_p` and `density_candidates`.
        size: of the crop, voxels.
        random: the sample's generator.
        centred_p: chance that the crop is centred on a class: `foreground_p`, corrected for each
            case where some cases have no foreground (`Group.centred`).
    """
    present = [name for name in classes if name in record.points]
    if centred_p < 1 and random.random() >= centred_p:
        x, y, z = (
            int(random.integers(max(n - s, 0) + 1)) + s // 2
            for n, s in zip(record.shape, size, strict=True)
        )
        return (x, y, z), None
    if not present:
        x, y, z = (int(random.integers(n)) for n in record.shape)
        return (x, y, z), None
    drawn = []
    for _ in range(sampling.density_candidates):
        chances = None
        if random.random() >= sampling.class_first_p:
            voxels = np.array([record.points[name].voxels for name in present], dtype=np.float64)
            chances = voxels / voxels.sum()
        name = present[int(random.choice(len(present), p=chances))]
        place = record.points[name]
        drawn.append((name, place.start + int(random.integers(place.count))))
    winner = 0
    if len(drawn) > 1:
        candidates = np.asarray(points[[row for _, row in drawn]], dtype=np.int64)
        shown = classes_shown(np.asarray(points), record, present, candidates, size)
        winner = int(random.choice(len(drawn), p=shown / shown.sum()))
    name, row = drawn[winner]
    x, y, z = (int(v) for v in points[row])
    return (x, y, z), name


def classes_shown(
    points: Array,
    record: PreparedRecord,
    classes: Sequence[str],
    centres: NDArray[np.int64],
    size: Triple,
) -> NDArray[np.int64]:
    """How many classes a crop around each centre (K, 3) shows, judged by their sampled voxels."""
    starts = np.array(
        [
            [crop_start(n, s, int(c)) for n, s, c in zip(record.shape, size, centre, strict=True)]
            for centre in centres
        ]
    )
    shown = np.zeros(len(centres), dtype=np.int64)
    for name in classes:
        place = record.points[name]
        voxels = points[place.start : place.start + place.count].astype(np.int64)[None]
        inside = (voxels >= starts[:, None]) & (voxels < starts[:, None] + np.array(size))
        shown += inside.all(axis=-1).any(axis=-1)
    return shown


def crop_start(n: int, size: int, centre: float) -> int:
    """First voxel of a crop around a centre, shifted inside a volume of n voxels on this axis."""
    return min(max(round(centre - size / 2), 0), max(n - size, 0))


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
        start = crop_start(n, s, c + shift)
        crop.append(slice(start, start + s))
        offset.append(0)
    return tuple(crop), tuple(offset)


def choose_prompts(
    classes: Sequence[str],
    shown: Mapping[str, bool],
    sampling: Sampling,
    random: np.random.Generator,
) -> list[str]:
    """All classes of the group; or present ones first, then some absent ones, up to a maximum.

    With a maximum of P and k classes that the crop shows: min(k, P) of these, then
    min(P - k, ceil(absent_ratio * k)) absent ones; if it shows none, up to P absent ones.

    Args:
        classes: classes of the group.
        shown: for each class whether the crop shows it.
        sampling: `max_prompts` and `absent_ratio`.
        random: the sample's generator.
    """
    if sampling.max_prompts is None:
        return list(classes)
    present = [name for name in classes if shown[name]]
    absent = [name for name in classes if not shown[name]]
    first = [present[i] for i in random.permutation(len(present))[: sampling.max_prompts]]
    room = sampling.max_prompts - len(first)
    if present:
        room = min(room, math.ceil(sampling.absent_ratio * len(first)))
    return first + [absent[i] for i in random.permutation(len(absent))[:room]]
