"""From matches to verdicts: which scans are one, which belong to one person, what cards declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from evaluation.datasets.audit.alignment import NOTHING, Agreement
from evaluation.datasets.audit.matching import Match
from evaluation.datasets.audit.scans import Scan
from evaluation.datasets.card import DatasetCard
from evaluation.schema import AUDIT

COPIED_AT = 10
CANDIDATE_SHARED = 7
CANDIDATE_VOTES = 4
SAME_SCAN = 0.9
SAME_PATIENT = 0.7
COVERED = 0.3
EVERYWHERE = 0.92

COPIED = "copied voxels"
SAME = "same scan"
SAME_OR_PATIENT = "same scan or same patient"
REJECTED = "candidate, rejected"
DECLARED = "declared overlap, equal patient ids"
PATIENT = "same patient on both sides"


@dataclass(frozen=True)
class Finding:
    """A pair of scans, what the content says, and what follows."""

    first: Scan
    second: Scan
    match: Match
    agreement: Agreement
    verdict: str

    @property
    def accepted(self) -> bool:
        """Whether the link counts."""
        return self.verdict != REJECTED

    @property
    def crosses(self) -> bool:
        """Whether one scan is for training and the other for testing."""
        return self.first.split != self.second.split


def verdict_of(match: Match, agreement: Agreement = NOTHING) -> str:
    """The rule of the audit; thresholds and their error rates are in the package's docstring."""
    if match.shared >= COPIED_AT:
        return COPIED
    if match.votes >= CANDIDATE_VOTES and agreement.covered >= COVERED:
        if agreement.correlation >= SAME_SCAN and agreement.weakest >= EVERYWHERE:
            return SAME
        if agreement.correlation >= SAME_PATIENT:
            return SAME_OR_PATIENT
    return REJECTED


def declared_pairs(cards: Iterable[DatasetCard]) -> dict[frozenset[str], bool]:
    """Pairs of entries that a card declares to overlap; True if a primary source confirms it."""
    pairs: dict[frozenset[str], bool] = {}
    for card in cards:
        for overlap in card.overlaps:
            pair = frozenset((card.id, overlap.dataset))
            pairs[pair] = pairs.get(pair, False) or overlap.verified
    return pairs


def audit_frame(
    findings: Sequence[Finding], scans: Sequence[Scan], cards: Iterable[DatasetCard]
) -> pd.DataFrame:
    """The table `audit`: links by content, then declared ones, then patients on both sides.

    A declared overlap that a primary source confirms links equal patient ids of the two entries,
    unless these are bare numbers; a pair that was also found by content has one row only.
    """
    declared = declared_pairs(cards)
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for finding in sorted(findings, key=lambda f: (not f.accepted, f.first.name, f.second.name)):
        rows[(finding.first.name, finding.second.name)] = _row(
            finding.first,
            finding.second,
            finding.verdict,
            "content",
            finding.accepted,
            declared,
            (finding.match.shared, finding.match.votes, finding.agreement.correlation),
        )
    for first, second in _declared_links(scans, declared):
        known = rows.get((first.name, second.name))
        if known is None or not known["accepted"]:
            rows[(first.name, second.name)] = _row(
                first, second, DECLARED, "declared", True, declared
            )
    for first, second in _split_patients(scans):
        rows.setdefault(
            (first.name, second.name), _row(first, second, PATIENT, "patient", True, declared)
        )
    if not rows:
        return AUDIT.empty()
    return pd.DataFrame(list(rows.values()), columns=AUDIT.names)


def _row(
    first: Scan,
    second: Scan,
    verdict: str,
    source: str,
    accepted: bool,
    declared: Mapping[frozenset[str], bool],
    measured: tuple[float, float, float] = (float("nan"),) * 3,
) -> dict[str, object]:
    shared, votes, correlation = measured
    return {
        "dataset": first.dataset,
        "case": first.case,
        "patient": first.patient,
        "split": first.split,
        "other_dataset": second.dataset,
        "other_case": second.case,
        "other_patient": second.patient,
        "other_split": second.split,
        "verdict": verdict,
        "source": source,
        "accepted": accepted,
        "declared": frozenset((first.dataset, second.dataset)) in declared,
        "shared_hashes": float(shared),
        "votes": float(votes),
        "correlation": float(correlation),
    }


def _declared_links(
    scans: Sequence[Scan], declared: Mapping[frozenset[str], bool]
) -> list[tuple[Scan, Scan]]:
    by_person: dict[str, dict[str, list[Scan]]] = {}
    for scan in scans:
        by_person.setdefault(scan.dataset, {}).setdefault(scan.patient, []).append(scan)
    links = []
    for pair, verified in declared.items():
        if not verified or len(pair) != 2 or not pair <= set(by_person):
            continue
        a, b = sorted(pair)
        for patient in sorted(set(by_person[a]) & set(by_person[b])):
            if not patient.isdecimal():
                links += [(x, y) for x in by_person[a][patient] for y in by_person[b][patient]]
    return links


def _split_patients(scans: Sequence[Scan]) -> list[tuple[Scan, Scan]]:
    """One training and one test scan of every patient who is on both sides of an entry's split."""
    first: dict[tuple[str, str, str], Scan] = {}
    for scan in scans:
        first.setdefault((scan.dataset, scan.patient, scan.split), scan)
    return [
        (scan, first[dataset, patient, "test"])
        for (dataset, patient, split), scan in first.items()
        if split == "train" and (dataset, patient, "test") in first
    ]
