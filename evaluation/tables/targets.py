"""Which classes make up each number of the tables, and with what weight.

Aggregation is named code: the mean over scans gives a class on an entry (a *slot*), the mean
over entries a class (modality, name), the mean over classes a region. Every mean is unweighted,
so each number is a fixed linear function of the slots' means; intervals and tests use the same
function. Source: sections 6.2 and 7 of the paper, and the authors' released evaluation code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.classes.regions import (
    LESION,
    UNASSIGNED,
    Regions,
    composition_keys,
    region_of,
)
from evaluation.protocol import COMPOSITIONS, SCHEMES, Composition, Scheme
from evaluation.tables.grid import ScoreGrid
from evaluation.tables.scores import Expected

Strings = NDArray[np.str_]


@dataclass(frozen=True)
class Universe:
    """All slots of a run: those with scores, and those of entries that have no data.

    One element for each slot; `start` gives the position of an entry's first slot, `n_planned`
    the number of test scans that the plan gives an entry, usable or not, `own` the regions of
    classes outside the vocabulary, `counted` by entry the classes whose structures are counted
    one by one.
    """

    dataset: Strings
    modality: Strings
    name: Strings
    leaf: NDArray[np.bool_]
    preferred: NDArray[np.bool_]
    start: dict[str, int]
    n_planned: Mapping[str, int] = field(default_factory=dict)
    own: Regions = field(default_factory=dict)
    counted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.name)

    def regions(self, scheme: Scheme) -> Strings:
        """Region of each slot; `unassigned` for classes that nobody gave one."""
        keys = zip(self.modality.tolist(), self.name.tolist(), strict=True)
        return np.array([region_of(*key, scheme, self.own) for key in keys], dtype=str)

    def single(self) -> NDArray[np.bool_]:
        """Slots whose structures are counted one by one: all of an entry that nobody asked."""
        slots = zip(self.dataset.tolist(), self.name.tolist(), strict=True)
        return np.array([name in self.counted.get(entry, (name,)) for entry, name in slots], bool)


def universe_of(grid: ScoreGrid, expected: Expected) -> Universe:
    """Slots of a grid's entries, then of the expected entries that are not in it."""
    rows: list[tuple[str, str, str, bool, bool]] = []
    start = {}
    for entry in grid.entries:
        start[entry.dataset] = len(rows)
        rows += [
            (entry.dataset, entry.modality, str(name), bool(leaf), bool(preferred))
            for name, leaf, preferred in zip(
                entry.slots.name, entry.slots.leaf, entry.slots.preferred, strict=True
            )
        ]
    for dataset, classes in expected.classes.items():
        if dataset not in start:
            start[dataset] = len(rows)
            modality = expected.modalities[dataset][0]
            rows += [(dataset, modality, name, leaf, True) for name, leaf in classes.items()]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    return Universe(
        dataset=np.array(columns[0], dtype=str),
        modality=np.array(columns[1], dtype=str),
        name=np.array(columns[2], dtype=str),
        leaf=np.array(columns[3], dtype=bool),
        preferred=np.array(columns[4], dtype=bool),
        start=start,
        n_planned={dataset: expected.n_planned(dataset) for dataset in start},
        own=expected.regions,
        counted=expected.single,
    )


@dataclass(frozen=True)
class Targets:
    """Rows of one table.

    Args:
        table: name of the table.
        keys: key columns, one row for each number.
        member: numbers x slots, which slots are in the mean.
        levels: groupings of the slots from the outermost inwards; the mean is taken within the
            innermost first.
        classes: what counts as one class of a mean, a code for each slot: the (modality, class)
            key where classes are averaged over entries first; None where each slot counts.
        asked: numbers x slots, what the mean is asked for, with the slots that it leaves out for
            want of a region (default: `member`).
    """

    table: str
    keys: pd.DataFrame
    member: NDArray[np.bool_]
    levels: tuple[NDArray[np.int64], ...] = ()
    classes: NDArray[np.int64] | None = None
    asked: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def expected(self) -> Targets:
        """The same numbers over all slots that they are asked for."""
        return self if self.asked is None else replace(self, member=self.asked, asked=None)

    def of(self, rows: NDArray[np.intp]) -> Targets:
        """Some of the numbers."""
        keys = self.keys.iloc[rows].reset_index(drop=True)
        asked = None if self.asked is None else self.asked[rows]
        return replace(self, keys=keys, member=self.member[rows], asked=asked)

    def count_classes(self, slots: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Classes among some slots in each number's mean.

        Args:
            slots: slots x models, the slots that count.

        Returns:
            numbers x models.
        """
        member = self.member.astype(np.float32)
        if self.classes is None:
            return (member @ slots.astype(np.float32)).round().astype(np.int64)
        one_hot = np.zeros((self.member.shape[1], int(self.classes.max(initial=0)) + 1), np.float32)
        one_hot[np.arange(len(one_hot)), self.classes] = 1
        counts = [((member * found) @ one_hot > 0).sum(axis=1) for found in slots.T]
        return np.stack(counts, axis=1).astype(np.int64)

    def weights(self, present: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Weight of each slot's mean in each number, given the slots that have one.

        Args:
            present: one flag for each slot.

        Returns:
            numbers x slots; every row sums to 1, or to 0 where no slot is present.
        """
        weights = np.zeros(self.member.shape)
        for row, member in enumerate(self.member):
            at = np.flatnonzero(member & present)
            if len(at):
                weights[row, at] = _nested(tuple(level[at] for level in self.levels), len(at))
        return weights


def _nested(levels: Sequence[NDArray[np.int64]], n: int) -> NDArray[np.float64]:
    weights = np.ones(n)
    group = np.zeros(n, dtype=np.int64)
    for level in levels:
        _, finer = np.unique(np.stack([group, level]), axis=1, return_inverse=True)
        finer = finer.ravel()
        parent = np.zeros(finer.max() + 1, dtype=np.int64)
        parent[finer] = group
        weights /= np.bincount(parent)[group]
        group = finer
    weights /= np.bincount(group)[group]
    return weights


def slot_targets(universe: Universe) -> Targets:
    """One class on one entry, both kinds of a generated class."""
    keys = pd.DataFrame(
        {
            "dataset": universe.dataset,
            "modality": universe.modality,
            "class": universe.name,
            "preferred": universe.preferred,
            "leaf": universe.leaf,
            "region": universe.regions("anatomical"),
        }
    )
    return Targets("dataset_class", keys, np.eye(len(universe), dtype=bool))


def dataset_targets(universe: Universe) -> Targets:
    """Mean over an entry's classes, generated ones included (paper, Table 5)."""
    keys = pd.DataFrame({"dataset": universe.dataset, "modality": universe.modality})
    keys = keys.drop_duplicates(ignore_index=True)
    member = universe.dataset == keys["dataset"].to_numpy()[:, None]
    return Targets("dataset", keys, member & universe.preferred)


def class_targets(universe: Universe) -> Targets:
    """Mean over the entries that have a class; `any` = mean of the modalities' means."""
    frame = pd.DataFrame(
        {
            "modality": universe.modality,
            "class": universe.name,
            "region": universe.regions("anatomical"),
        }
    )
    single = frame.drop_duplicates(["modality", "class"], ignore_index=True)
    both = single[single.duplicated("class")].drop_duplicates("class").assign(modality="any")
    keys = pd.concat([single, both], ignore_index=True)
    member = universe.name == keys["class"].to_numpy()[:, None]
    modality = keys["modality"].to_numpy()[:, None]
    member &= (universe.modality == modality) | (modality == "any")
    levels = (_codes(universe.modality),)
    return Targets("class", keys, member & universe.preferred, levels, class_codes(universe))


def lesion_targets(universe: Universe) -> Targets:
    """The lesion group's classes (paper, Table 6 and its inferred four further members)."""
    every = class_targets(universe)
    lesion = every.keys["region"].eq(LESION).to_numpy()
    keys = every.keys.loc[lesion, ["modality", "class"]].reset_index(drop=True)
    return Targets("lesion", keys, every.member[lesion], every.levels, every.classes)


def region_targets(universe: Universe) -> Targets:
    """Mean over a region's (modality, class) keys, in every scheme and composition."""
    keys = []
    members = []
    for scheme in SCHEMES:
        regions = universe.regions(scheme)
        names = sorted(set(regions) - {UNASSIGNED, LESION}) + [LESION] * (LESION in regions)
        for composition in COMPOSITIONS:
            inside = composition_mask(universe, composition) & universe.preferred
            for name in names:
                keys.append({"scheme": scheme, "composition": composition, "region": name})
                members.append((regions == name) & inside)
    frame = pd.DataFrame(keys, columns=["scheme", "composition", "region"])
    member = np.array(members, dtype=bool).reshape(len(keys), len(universe))
    codes = class_codes(universe)
    return Targets("region", frame, member, (codes,), codes)


def overall_targets(universe: Universe) -> list[Targets]:
    """A model's one number, in three ways; the mean over regions lacks classes without one."""
    everything = universe.preferred[None, :]
    regions = universe.regions("anatomical")
    keys = class_codes(universe)

    def named(statistic: str) -> pd.DataFrame:
        return pd.DataFrame({"statistic": [statistic]})

    return [
        Targets("overall", named("entries"), everything, (_codes(universe.dataset),)),
        Targets("overall", named("classes"), everything, (keys,), keys),
        Targets(
            "overall",
            named("regions"),
            everything & (regions != UNASSIGNED)[None, :],
            (_codes(regions), keys),
            keys,
            asked=everything,
        ),
    ]


def composition_mask(universe: Universe, composition: Composition) -> NDArray[np.bool_]:
    """Slots whose class belongs to a composition of the region means.

    A class outside the vocabulary is in all of them, unless it is generated: then it is no leaf.
    """
    inside = composition_keys(composition)
    known = composition_keys("all")
    keys = zip(universe.modality.tolist(), universe.name.tolist(), strict=True)
    return np.array(
        [
            key in inside or (key not in known and (composition != "leaves" or leaf))
            for key, leaf in zip(keys, universe.leaf.tolist(), strict=True)
        ],
        dtype=bool,
    )


def class_codes(universe: Universe) -> NDArray[np.int64]:
    """Number of each slot's (modality, class) key."""
    return _codes(np.char.add(np.char.add(universe.modality, "/"), universe.name))


def _codes(labels: Strings) -> NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
