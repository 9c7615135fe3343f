"""Which scans and patients belong together across entries, and what `clean` leaves out.

Entries of the collection re-use each other's scans. A patient who appears in two entries is one
unit for the statistics, and a test scan whose twin lies in the training data of a compared model
is left out of the view `clean`. Both come from the leakage audit (`tables/audit.parquet`) and from
what the dataset cards say of their overlaps, which wins (`evaluation.datasets.overlaps`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from evaluation.datasets.overlaps import HOW_TO, Overlaps
from evaluation.models.training_sets import TrainingSets

Patient = tuple[str, str]
"""Entry id and patient id within it."""
N_EXAMPLES = 10


class Member(NamedTuple):
    """One end of a link: a scan, its person and side."""

    dataset: str
    case: str
    patient: str
    split: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.case} ({self.split})"


@dataclass(frozen=True)
class Links:
    """Links between the scans of a run.

    Args:
        person: (entry, patient) -> a name shared by all entries in which this patient appears.
            Patients that are linked to nobody are not listed.
        leaked: (entry, case) of test scans that are linked to a training scan, or are one of
            another study's that a compared model was trained on.
        note: how many links there are, what they join and what `clean` leaves out, for captions.
        examples: some of the links.
        undeclared: links that no card announces.
        rejected: links by content that the cards reject.
    """

    person: Mapping[Patient, str]
    leaked: frozenset[tuple[str, str]]
    note: str
    examples: tuple[str, ...] = ()
    undeclared: int = 0
    rejected: int = 0

    def name(self, dataset: str, patient: str) -> str:
        """Name of a patient, the same in every entry."""
        return self.person.get((dataset, patient), f"{dataset}/{patient}")

    @property
    def caption(self) -> str:
        """For captions: the note, where there is a link or was one that a card rejects."""
        return self.note if self.examples or self.rejected else ""

    @property
    def lines(self) -> list[str]:
        """For the console and the report's first page: the note, the links, what to do."""
        if not self.examples:
            return [self.note]
        known = f"{self.undeclared} of these links are announced by no card; the table `audit` "
        return [self.note, *self.examples, f"{known}lists those found by content. {HOW_TO}"]


def find_links(
    splits: Mapping[str, pd.DataFrame],
    audit: pd.DataFrame | None,
    declared: Overlaps | None = None,
    trained: TrainingSets | None = None,
) -> Links:
    """Link patients and find leaked test cases.

    Args:
        splits: by entry, a frame with `case`, `patient`, `split`.
        audit: the audit table, or None if there is none.
        declared: what the cards say.
        trained: what a compared model was trained on; None = all training sides.
    """
    declared = declared or Overlaps()
    scans = [
        Member(dataset, *row)
        for dataset, frame in sorted(splits.items())
        for row in frame[["case", "patient", "split"]].astype(str).itertuples(index=False)
    ]
    found: dict[tuple[Member, Member], str] = {}
    rejected = 0
    if audit is not None:
        for one, other, accepted, verdict in _audited(audit):
            said = declared.says(one, other)
            rejected += said is False and (accepted or verdict.startswith("rejected"))
            if accepted and said is not False:
                found[one, other] = verdict
    for pair in declared.links(scans):
        if pair[::-1] not in found:
            found.setdefault(pair, "declared by a card")
    people = _groups(((a.dataset, a.patient), (b.dataset, b.patient)) for a, b in found)
    leaked = frozenset(
        (here.dataset, here.case)
        for a, b in found
        for here, there in ((a, b), (b, a))
        if here.split == "test"
        and (
            there.split == "train"
            if trained is None
            else trained.has(there.dataset, there.patient, there.split)
        )
    )
    if trained is not None:
        leaked |= {
            (scan.dataset, scan.case)
            for scan in scans
            if scan.split == "test" and trained.has(scan.dataset, scan.patient, scan.split)
        }
    tested = {(s.dataset, s.patient) for s in scans if s.split == "test"}
    n_people = len({people.get(patient, "/".join(patient)) for patient in tested})
    n_tests = sum(scan.split == "test" for scan in scans)
    note = (
        f"{len(found)} links between scans (leakage audit, cards): {len(tested)} test patients "
        f"count as {n_people} independent ones; the view clean leaves out {len(leaked)} of "
        f"{n_tests} test scans, linked to training scans"
        f"{'' if trained is None else ' of a compared model'}."
        if found or leaked
        else "No links between scans: the view clean holds all test cases"
        + (" (no leakage audit was made)." if audit is None else ".")
    )
    return Links(
        people,
        leaked,
        note + (f" Links rejected by cards: {rejected}." if rejected else ""),
        tuple(f"linked: {a} - {b}: {why}" for (a, b), why in list(found.items())[:N_EXAMPLES]),
        sum(not declared.announces(*pair) for pair in found),
        rejected,
    )


def _audited(audit: pd.DataFrame) -> Iterable[tuple[Member, Member, bool, str]]:
    sides = ["dataset", "case", "patient", "split"]
    ones = audit[sides].astype(str).itertuples(index=False, name=None)
    others = audit[[f"other_{side}" for side in sides]].astype(str)
    rest = zip(audit["accepted"], audit["verdict"], strict=True)
    for one, other, (accepted, verdict) in zip(
        ones, others.itertuples(index=False, name=None), rest, strict=True
    ):
        yield Member(*one), Member(*other), bool(accepted), str(verdict)


def _groups(pairs: Iterable[tuple[Patient, Patient]]) -> dict[Patient, str]:
    """Connected components; each is named after its alphabetically first member."""
    root: dict[Patient, Patient] = {}

    def find(member: Patient) -> Patient:
        while (above := root.setdefault(member, member)) != member:
            root[member] = root[above]
            member = above
        return member

    for a, b in pairs:
        first, second = sorted((find(a), find(b)))
        root[second] = first
    return {member: "/".join(find(member)) for member in list(root)}
