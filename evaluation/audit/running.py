"""One audit from end to end: fingerprints, candidates, checks, table, summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from evaluation.audit.alignment import NOTHING, Checker
from evaluation.audit.findings import (
    CANDIDATE_SHARED,
    CANDIDATE_VOTES,
    COPIED_AT,
    Finding,
    audit_frame,
    verdict_of,
)
from evaluation.audit.fingerprint import VERSION, Fingerprint
from evaluation.audit.matching import Match, find_matches
from evaluation.audit.scans import Scan
from evaluation.audit.store import fingerprints
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.overlaps import Overlaps, overlaps_of
from evaluation.errors import BenchError
from evaluation.files.writing import write_json
from evaluation.schema import AUDIT, write_table
from evaluation.tables.views import find_links

SUMMARY = "summary.json"
N_EXAMPLES = 10


@dataclass(frozen=True)
class Outcome:
    """What an audit found.

    Args:
        table: the table `audit`.
        summary: counts and lists, as written to `summary.json`.
        lines: the same in words.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    lines: tuple[str, ...]

    @property
    def undeclared_leaks(self) -> int:
        """Accepted links between a training and a test scan that no card declares."""
        t = self.table
        return int((t["accepted"] & (t["split"] != t["other_split"]) & ~t["declared"]).sum())


def audit(
    scans: Sequence[Scan],
    cards: Sequence[DatasetCard],
    store: Path,
    table: Path,
    jobs: int = 1,
) -> Outcome:
    """Find scans that belong together, and write the table `audit`.

    Scans of one patient of one entry are known to belong together: they are not compared, and
    have a row only if they are on both sides of the split.

    Args:
        scans: what to compare.
        cards: cards of their entries (declared overlaps).
        store: folder of fingerprints; `summary.json` is written there too.
        table: the Parquet file to write.
        jobs: scans fingerprinted at once.

    Raises:
        BenchError: there are no scans, or none of them can be read.
    """
    if not scans:
        raise BenchError("there are no scans to compare", hint="`satbench data status` says why")
    # By entry, so that a pair of entries always comes in one order.
    scans = sorted(scans, key=lambda scan: scan.dataset)
    with tqdm(total=len(scans), desc="fingerprints", unit="scan", disable=None) as bar:
        made, failed = fingerprints(scans, store, jobs, lambda _scan: bar.update())
    if not made:
        raise BenchError(
            f"none of the {len(scans)} scans can be read", found=next(iter(failed.values()))
        )
    there = [scan for scan in scans if scan.name in made]
    findings = compare(there, [made[scan.name] for scan in there])
    declared = overlaps_of(cards)
    frame = audit_frame(findings, scans, declared)
    write_table(table, frame, AUDIT)
    summary = _summary(frame, findings, scans, made, failed, declared)
    write_json(store / SUMMARY, summary)
    lines = [*_lines(summary, table), *_links(frame, scans, declared)]
    return Outcome(frame, summary, tuple(lines))


def compare(scans: Sequence[Scan], prints: Sequence[Fingerprint]) -> list[Finding]:
    """All candidates among scans, with their verdicts."""
    people: dict[tuple[str, str], int] = {}
    groups = [people.setdefault((scan.dataset, scan.patient), len(people)) for scan in scans]
    matches = find_matches(prints, groups, CANDIDATE_VOTES, CANDIDATE_SHARED)
    checker = Checker()
    bar = tqdm(matches, desc="check candidates", unit="pair", disable=None)
    return [_checked(scans[m.first], scans[m.second], m, checker) for m in bar]


def _checked(first: Scan, second: Scan, match: Match, checker: Checker) -> Finding:
    agreement = NOTHING
    if match.votes >= CANDIDATE_VOTES:
        try:
            agreement = checker.check(first, second, match)
        except (BenchError, OSError):
            # The fingerprint is older than the fault; what it says stays a candidate.
            agreement = NOTHING
    return Finding(first, second, match, agreement, verdict_of(match, agreement))


def _summary(
    frame: pd.DataFrame,
    findings: Sequence[Finding],
    scans: Sequence[Scan],
    made: dict[str, Fingerprint],
    failed: dict[str, str],
    declared: Overlaps,
) -> dict[str, Any]:
    accepted = frame[frame["accepted"]]
    content = accepted[accepted["source"] == "content"]
    crossing = accepted[accepted["split"] != accepted["other_split"]]
    entries = {scan.dataset for scan in scans}
    pairs = Counter(
        frozenset((a, b)) for a, b in zip(content["dataset"], content["other_dataset"], strict=True)
    )
    announced = {
        " - ".join(sorted(pair)): {"verified": verified, "found": pairs.get(pair, 0)}
        for pair, verified in declared.entries.items()
        if pair <= entries
    }
    blind = {name: print_.blind for name, print_ in made.items() if print_.blind}
    return {
        "fingerprint_version": VERSION,
        "thresholds": {"shared_hashes": COPIED_AT, "votes": CANDIDATE_VOTES},
        "scans": len(scans),
        "not_read": failed,
        "hard_to_find": blind,
        "candidates": len(findings),
        "votes_of_rejected": dict(
            sorted(Counter(f.match.votes for f in findings if not f.accepted).items())
        ),
        "verdicts": {str(k): int(v) for k, v in frame["verdict"].value_counts().items()},
        "links_across_sides": len(crossing),
        "undeclared_across_sides": int((~crossing["declared"]).sum()),
        "undeclared_examples": [
            f"{r['dataset']}/{r['case']} ({r['split']}) - "
            f"{r['other_dataset']}/{r['other_case']} ({r['other_split']}): {r['verdict']}"
            for r in crossing[~crossing["declared"]].head(N_EXAMPLES).to_dict("records")
        ],
        "declared_overlaps": announced,
        "largest_groups": _groups(accepted),
    }


def _links(frame: pd.DataFrame, scans: Sequence[Scan], declared: Overlaps) -> list[str]:
    """What the links mean for the tables, and how to reject or declare one."""
    rows = [(scan.dataset, scan.case, scan.patient, scan.split) for scan in scans]
    known = pd.DataFrame(rows, columns=["dataset", "case", "patient", "split"])
    splits = {str(dataset): part for dataset, part in known.groupby("dataset")}
    lines = find_links(splits, frame, declared).lines
    if unknown := declared.unknown(scans):
        lines.append(f"cards name pairs that are not here: {', '.join(unknown)}")
    return lines


def _groups(accepted: pd.DataFrame, most: int = 5) -> list[list[str]]:
    """The largest groups of linked patients: one huge group would betray a false link."""
    members: dict[str, list[str]] = {}
    for (dataset, patient), name in find_links({}, accepted).person.items():
        members.setdefault(name, []).append(f"{dataset}/{patient}")
    return sorted((sorted(m) for m in members.values()), key=lambda m: (-len(m), m))[:most]


def _lines(summary: dict[str, Any], table: Path) -> list[str]:
    blind = len(summary["hard_to_find"])
    n_failed = len(summary["not_read"])
    lines = [f"{summary['scans']} scans, {n_failed} not read, {blind} hard to find by content"]
    lines += [f"not read: {name}: {why}" for name, why in summary["not_read"].items()]
    lines += [f"{verdict}: {n}" for verdict, n in summary["verdicts"].items()]
    for pair, state in summary["declared_overlaps"].items():
        kind = "declared" if state["verified"] else "suspected"
        lines.append(f"{kind} overlap {pair}: {state['found']} links by content")
    lines.append(
        f"{summary['links_across_sides']} links between training and test, "
        f"{summary['undeclared_across_sides']} of them undeclared"
    )
    lines += [f"  undeclared: {example}" for example in summary["undeclared_examples"]]
    lines.append("no finding never means no overlap: `make bench-audit` measures the recall")
    lines.append(f"{sum(summary['verdicts'].values())} rows in {table}")
    return lines
