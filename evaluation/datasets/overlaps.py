"""What the cards say of shared scans: entries that overlap, pairs that are one person or are not.

An overlap that a primary source confirms links equal patient ids of its two entries, unless these
are bare numbers, which say nothing. Pairs under `linked` and `not_linked` are somebody's own word
on single cases or patients and win over what the content or equal ids suggest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol, TypeVar

from evaluation.datasets.card import DatasetCard
from evaluation.errors import BenchError

HOW_TO = (
    "To reject a link, look at the two scans and name them in the card of either entry: "
    "`overlaps: [{dataset: OTHER, relation: WHY, verified: true, not_linked: [[MINE, THEIRS]]}]` "
    "(case or patient ids; `not_linked: all` for every link between the two entries). To declare "
    "one, the same with `linked`. Then run again."
)
Name = tuple[str, str]
"""An entry, and the id of a case or a patient within it."""


class Named(Protocol):
    """A scan by its names."""

    @property
    def dataset(self) -> str:
        """Entry id."""

    @property
    def case(self) -> str:
        """Case id."""

    @property
    def patient(self) -> str:
        """Patient id within the entry."""


S = TypeVar("S", bound=Named)


@dataclass(frozen=True)
class Overlaps:
    """The word of all cards.

    Args:
        entries: two entries (or one, with itself) that a card announces to share scans; True if
            a primary source confirms it.
        linked: pairs that are one person.
        not_linked: pairs that are not.
        strangers: entries that share nobody.
    """

    entries: Mapping[frozenset[str], bool] = field(default_factory=dict)
    linked: frozenset[frozenset[Name]] = frozenset()
    not_linked: frozenset[frozenset[Name]] = frozenset()
    strangers: frozenset[frozenset[str]] = frozenset()

    def announces(self, one: Named, other: Named) -> bool:
        """Whether a card knows of the link: of the pair, or of an overlap of the two entries."""
        known = frozenset((one.dataset, other.dataset)) in self.entries
        return known or self.says(one, other) is True

    def says(self, one: Named, other: Named) -> bool | None:
        """True: the cards say one person; False: they say two; None: they do not say."""
        if (one.dataset, one.patient) == (other.dataset, other.patient):
            return True
        pairs = {frozenset(pair) for pair in product(_names(one), _names(other))}
        if pairs & self.linked:
            return True
        between = frozenset((one.dataset, other.dataset))
        if pairs & self.not_linked or between in self.strangers:
            return False
        if one.patient == other.patient and not one.patient.isdecimal():
            return True if self.entries.get(between) else None
        return None

    def links(self, scans: Sequence[S]) -> list[tuple[S, S]]:
        """Pairs among these scans that cards link, each in the order of the scans."""
        named: defaultdict[Name, set[int]] = defaultdict(set)
        for position, scan in enumerate(scans):
            for name in _names(scan):
                named[name].add(position)
        pairs = {tuple(sorted(pair)) for pair in self.linked if len(pair) == 2}
        for between, verified in self.entries.items():
            if verified and len(between) == 2:
                one, other = sorted(between)
                ids = {scan.patient for scan in scans if scan.dataset == one}
                pairs |= {((one, who), (other, who)) for who in ids}
        found = {
            (min(both), max(both))
            for one, other in pairs
            for both in product(named[one], named[other])
        }
        at = [(scans[first], scans[second]) for first, second in sorted(found)]
        return [pair for pair in at if self.says(*pair)]

    def unknown(self, scans: Sequence[Named]) -> list[str]:
        """Ids of the listed pairs that no case and no patient of these entries has."""
        there = {name for scan in scans for name in _names(scan)}
        entries = {scan.dataset for scan in scans}
        listed = {name for pair in self.linked | self.not_linked for name in pair}
        return [f"{d}/{i}" for d, i in sorted(listed - there) if d in entries]


def _names(scan: Named) -> set[Name]:
    return {(scan.dataset, scan.case), (scan.dataset, scan.patient)}


def overlaps_of(cards: Iterable[DatasetCard]) -> Overlaps:
    """Gather the overlaps of cards.

    Raises:
        BenchError: one says that a pair is linked, and one that it is not.
    """
    entries: dict[frozenset[str], bool] = {}
    pairs: dict[bool, set[frozenset[Name]]] = {True: set(), False: set()}
    strangers: set[frozenset[str]] = set()
    for card in cards:
        for overlap in card.overlaps:
            between = frozenset((card.id, overlap.dataset))
            entries[between] = entries.get(between, False) or overlap.verified
            if overlap.not_linked == "all":
                strangers.add(between)
            for linked, listed in ((True, overlap.linked), (False, overlap.not_linked)):
                if listed != "all":
                    pairs[linked] |= {
                        frozenset(((card.id, mine), (overlap.dataset, theirs)))
                        for mine, theirs in listed
                    }
    for pair in pairs[True] & pairs[False]:
        raise BenchError(
            "two overlaps contradict each other",
            found=" and ".join(f"{d}/{i}" for d, i in sorted(pair))
            + " under `linked` and under `not_linked`",
            hint="keep one of the two, in the cards of these entries",
        )
    return Overlaps(entries, frozenset(pairs[True]), frozenset(pairs[False]), frozenset(strangers))
