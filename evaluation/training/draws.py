"""What a training draws from: groups of cases that share a list of prompts, with their chances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.classes.modality import Modality
from evaluation.errors import BenchError
from evaluation.training.sampling import group_weight, joined_chances, volume_repeats
from evaluation.training.settings import Sampling, Training
from evaluation.training.store import PreparedEntry, PreparedIndex, PreparedRecord, read_known

_GROUP_STREAM, _SAMPLE_STREAM = 0, 1


@dataclass(frozen=True)
class Group:
    """An entry, or one specialist's part of it: cases that share a list of prompts.

    Attributes:
        name: id of the entry, or of the specialist.
        weight: chance of the group, not normalised.
        joins: part of the steps after which the group takes part.
        case_weights: chance of each case in the group, summing to one.
    """

    dataset: str
    name: str
    modality: Modality
    classes: tuple[str, ...]
    cases: tuple[PreparedRecord, ...]
    weight: float
    joins: float
    case_weights: tuple[float, ...]


def training_groups(
    store: Path,
    index: PreparedIndex,
    training: Training,
    held_out: Mapping[str, Sequence[str]] | None = None,
    classes_of: Callable[[PreparedEntry], Sequence[str]] = lambda entry: entry.classes,
) -> list[Group]:
    """The groups of a prepared store with their chances.

    Args:
        store: the prepared store.
        index: its index.
        training: sampling and patch.
        held_out: for each dataset, cases that are not trained on.
        classes_of: classes of an entry that are trained; without any, the entry is left out.

    Raises:
        BenchError: a prepared case is missing, or none is left to train on.
    """
    groups: list[Group] = []
    for entry in index.entries:
        left_out = set((held_out or {}).get(entry.dataset, ()))
        cases = [case for case in entry.cases if case not in left_out]
        trained = entry.model_copy(update={"classes": tuple(classes_of(entry))})
        if cases and trained.classes:
            records = [read_known(store, entry.dataset, case) for case in cases]
            groups.extend(entry_groups(trained, records, training))
    if not groups:
        raise BenchError("the prepared store holds no case to train on", file=store)
    return groups


def entry_groups(
    entry: PreparedEntry, records: Sequence[PreparedRecord], training: Training
) -> list[Group]:
    """The groups of one entry: itself, or one a specialist (TotalSegmentator's five subsets)."""
    lists = _class_lists(entry, training.sampling)
    return [_group(entry, name, classes, records, training) for name, classes in lists.items()]


def _class_lists(entry: PreparedEntry, sampling: Sampling) -> dict[str, tuple[str, ...]]:
    """One list, or one a specialist; classes of no subset join the first."""
    parts = {
        name: [c for c in entry.classes if c in classes]
        for name, classes in entry.specialists.items()
    }
    lists = {name: part for name, part in parts.items() if part}
    if not sampling.split_by_specialist or len(lists) < 2:
        return {entry.dataset: entry.classes}
    lists[next(iter(lists))] += [
        c for c in entry.classes if not any(c in part for part in lists.values())
    ]
    return {name: tuple(part) for name, part in lists.items()}


def _group(
    entry: PreparedEntry,
    name: str,
    classes: tuple[str, ...],
    records: Sequence[PreparedRecord],
    training: Training,
) -> Group:
    sampling, wanted = training.sampling, set(classes)
    usable = [r for r in records if wanted.intersection(r.points)] or list(records)
    repeats = [
        float(volume_repeats(r.label_size, len(classes), training.patch))
        if sampling.volume_repeat
        else 1.0
        for r in usable
    ]
    factor = sampling.entry_factors.get(entry.dataset, 1.0)
    total = sum(repeats)
    return Group(
        dataset=entry.dataset,
        name=name,
        modality=entry.modality,
        classes=classes,
        cases=tuple(usable),
        weight=group_weight(repeats, sampling.entry_balance, factor, len(classes)),
        joins=sampling.curriculum.get(entry.dataset, 0.0),
        case_weights=tuple(r / total for r in repeats),
    )


@dataclass(frozen=True)
class Draw:
    """What sample i of a step is made from, and its generator for all that follows."""

    group: Group
    record: PreparedRecord
    random: np.random.Generator


class CropDraws:
    """The draws of a training: group and case of any sample of any step, without reading them.

    Args:
        groups: what to draw from.
        sampling: `crops_per_group` samples in turn are of one group.
        steps: of the whole training, for the curriculum.
        seed: seed of the run.
    """

    def __init__(self, groups: Sequence[Group], sampling: Sampling, steps: int, seed: int) -> None:
        self._groups, self._run_length = list(groups), sampling.crops_per_group
        self._steps, self._seed = steps, seed
        self._weights = [group.weight for group in groups]
        self._joins = [group.joins for group in groups]

    def draw(self, step: int, sample: int) -> Draw:
        """Group and case of a sample; keyed by (seed, step, sample) alone."""
        key = [self._seed, _GROUP_STREAM, step, sample // self._run_length]
        chances = joined_chances(self._weights, self._joins, step / self._steps)
        group = self._groups[int(np.random.default_rng(key).choice(len(chances), p=chances))]
        random = np.random.default_rng([self._seed, _SAMPLE_STREAM, step, sample])
        record = group.cases[int(random.choice(len(group.cases), p=group.case_weights))]
        return Draw(group, record, random)

    def mates(self, sample: int, crops: int) -> range:
        """The samples of a step of `crops` that are of one group and size with this one."""
        start = sample - sample % self._run_length
        return range(start, min(start + self._run_length, crops))
