"""From matches to verdicts: which scans are one, which belong to one person, what cards declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from evaluation.audit.alignment import NOTHING, Agreement
from evaluation.audit.matching import Match
from evaluation.audit.scans import Scan
from evaluation.datasets.overlaps import Overlaps
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
DECLARED = "declared by a card"
DISMISSED = "rejected by a card"
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


def audit_frame(
    findings: Sequence[Finding], scans: Sequence[Scan], declared: Overlaps
) -> pd.DataFrame:
    """The table `audit`: links by content, then declared ones, then patients on both sides.

    A link by content that a card rejects does not count; a pair that a card declares and that was
    also found by content has one row only.
    """
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for finding in sorted(findings, key=lambda f: (not f.accepted, f.first.name, f.second.name)):
        dismissed = finding.accepted and declared.says(finding.first, finding.second) is False
        rows[(finding.first.name, finding.second.name)] = _row(
            finding.first,
            finding.second,
            DISMISSED if dismissed else finding.verdict,
            "content",
            finding.accepted and not dismissed,
            declared,
            (finding.match.shared, finding.match.votes, finding.agreement.correlation),
        )
    for first, second in declared.links(sorted(scans, key=lambda scan: scan.dataset)):
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
    declared: Overlaps,
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
        "declared": declared.announces(first, second),
        "shared_hashes": float(shared),
        "votes": float(votes),
        "correlation": float(correlation),
    }


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
