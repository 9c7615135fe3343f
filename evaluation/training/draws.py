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
        cases: all that are annotated for a class of the group, also those that are never drawn.
        case_weights: chance of each case in the group, summing to one.
        centred: for each case the chance that a crop of it is centred on a class.
    """

    dataset: str
    name: str
    modality: Modality
    classes: tuple[str, ...]
    cases: tuple[PreparedRecord, ...]
    weight: float
    joins: float
    case_weights: tuple[float, ...]
    centred: tuple[float, ...]

    @property
    def draws_empty(self) -> bool:
        """Whether some crops are of scans without any of the classes that other scans show."""
        shown = {
            _shows(record, self.classes)
            for record, weight in zip(self.cases, self.case_weights, strict=True)
            if weight
        }
        return shown == {True, False}


def read_cases(
    store: Path, index: PreparedIndex, held_out: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[PreparedRecord]]:
    """The records of each entry's cases but for those held out.

    Raises:
        BenchError: a prepared case is missing.
    """
    found = {}
    for entry in index.entries:
        left_out = set((held_out or {}).get(entry.dataset, ()))
        cases = [case for case in entry.cases if case not in left_out]
        found[entry.dataset] = [read_known(store, entry.dataset, case) for case in cases]
    return found


def training_groups(
    store: Path,
    index: PreparedIndex,
    training: Training,
    held_out: Mapping[str, Sequence[str]] | None = None,
    classes_of: Callable[[PreparedEntry], Sequence[str]] = lambda entry: entry.classes,
    *,
    cases: Mapping[str, Sequence[PreparedRecord]] | None = None,
    empty_scans: bool = True,
) -> list[Group]:
    """The groups of a prepared store with their chances.

    Args:
        store: the prepared store.
        index: its index.
        training: sampling and patch.
        held_out: for each dataset, cases that are not trained on.
        classes_of: classes of an entry that are trained; without any, the entry is left out.
        cases: from `read_cases`, where they are at hand.
        empty_scans: whether crops that lie anywhere may be of scans that show no class.

    Raises:
        BenchError: a prepared case is missing, or none is left to train on.
    """
    cases = read_cases(store, index, held_out) if cases is None else cases
    groups: list[Group] = []
    for entry in index.entries:
        trained = entry.model_copy(update={"classes": tuple(classes_of(entry))})
        if cases[entry.dataset] and trained.classes:
            groups += entry_groups(trained, cases[entry.dataset], training, empty_scans=empty_scans)
    if not groups:
        raise BenchError("the prepared store holds no case to train on", file=store)
    return groups


def entry_groups(
    entry: PreparedEntry,
    records: Sequence[PreparedRecord],
    training: Training,
    *,
    empty_scans: bool = True,
) -> list[Group]:
    """The groups of one entry: itself, or one a specialist (TotalSegmentator's five subsets)."""
    lists = _class_lists(entry, training.sampling)
    return [
        _group(entry, name, classes, records, training, empty_scans)
        for name, classes in lists.items()
    ]


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
    empty_scans: bool,
) -> Group:
    """A group with the chances of its cases.

    A part p (`foreground_p`) of its crops is centred on a class, so of a case that shows one; the
    others lie anywhere in any case. Its weight is p times that of the cases that show a class and
    1 - p times that of all. A case is drawn by what both parts give it, then whether the crop is
    centred, so that where every case shows a class nothing is drawn that depends on the others.
    """
    sampling, cases = training.sampling, list(records)
    if any(_shows(r, classes) for r in cases):
        # Without annotation a case shows neither where a class lies nor that there is none.
        cases = [r for r in cases if _shows(r, classes) or _annotated(r, classes)]
    repeats = [
        float(volume_repeats(r.label_size, len(classes), training.patch))
        if sampling.volume_repeat
        else 1.0
        for r in cases
    ]
    shows = [_shows(r, classes) for r in cases]
    if not any(shows):  # nothing to tell them apart by
        shows = [True] * len(cases)
    factor = sampling.entry_factors.get(entry.dataset, 1.0)

    def weight(of: Sequence[float]) -> float:
        return group_weight(of, sampling.entry_balance, factor, len(classes))

    showing = [r for r, shown in zip(repeats, shows, strict=True) if shown]
    part, total, everything = sampling.foreground_p, sum(showing), sum(repeats)
    own = weight(showing)
    chances = [r / total if shown else 0.0 for r, shown in zip(repeats, shows, strict=True)]
    centred = [part] * len(cases)
    if empty_scans and part < 1 and not all(shows):
        own = part * own + (1 - part) * weight(repeats)
        chances = [
            part * chance + (1 - part) * r / everything
            for chance, r in zip(chances, repeats, strict=True)
        ]
        # By Bayes: of a case that shows a class, p / total of p / total + (1 - p) / everything.
        of_shown = part * everything / (part * everything + (1 - part) * total)
        centred = [of_shown if shown else 0.0 for shown in shows]
    return Group(
        dataset=entry.dataset,
        name=name,
        modality=entry.modality,
        classes=classes,
        cases=tuple(cases),
        weight=own,
        joins=sampling.curriculum.get(entry.dataset, 0.0),
        case_weights=tuple(chances),
        centred=tuple(centred),
    )


def _shows(record: PreparedRecord, classes: Sequence[str]) -> bool:
    return any(name in record.points for name in classes)


def _annotated(record: PreparedRecord, classes: Sequence[str]) -> bool:
    known = record.classes.keys() - set(record.not_annotated)
    return not known.isdisjoint(classes)


@dataclass(frozen=True)
class Draw:
    """What sample i of a step is made from, and its generator for all that follows.

    `centred_p` is the chance that the crop is centred on a class.
    """

    group: Group
    record: PreparedRecord
    centred_p: float
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
        case = int(random.choice(len(group.cases), p=group.case_weights))
        return Draw(group, group.cases[case], group.centred[case], random)

    def mates(self, sample: int, crops: int) -> range:
        """The samples of a step of `crops` that are of one group and size with this one."""
        start = sample - sample % self._run_length
        return range(start, min(start + self._run_length, crops))
