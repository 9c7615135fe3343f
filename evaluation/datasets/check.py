"""Validate a raw root case by case before any long work: readable, geometry, labels, duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.fingerprint import Fingerprint, fingerprint, unlike
from evaluation.datasets.raters import NO_IMAGE, fault_of, find_raters
from evaluation.datasets.readers import discover, get_reader
from evaluation.datasets.readers.base import FindsStrays, RawCase, Reader
from evaluation.datasets.registry import load_cards
from evaluation.datasets.splits import list_remarks, split_file, split_list, studies_with
from evaluation.datasets.standardise import patient_of, standardised
from evaluation.datasets.status import is_present
from evaluation.errors import BenchError
from evaluation.studies.record import Study
from evaluation.volumes.image_files import Array, Volume, orientation_of

Verdict = Literal["ok", "fault", "note", "excluded"]


@dataclass(frozen=True)
class Finding:
    """What was found of one case (or of a whole entry, then `case` is empty)."""

    dataset: str
    case: str
    verdict: Verdict
    message: str = ""
    shape: str = ""
    spacing_mm: str = ""
    orientation: str = ""
    fingerprint: Fingerprint | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_root(raw_root: Path, cards: Sequence[DatasetCard]) -> Iterator[Finding]:
    """Check every case of those entries whose folder is under `raw_root`.

    Each case goes through its reader and through everything that standardise demands of it;
    nothing is written. Files that make no case are named, and what a split list says is compared
    with the cases that are there. Scans with the same voxels are named: in one entry that is a
    fault, between entries that declare an overlap a note. Scans that are unlike the others of the
    entry (spacing, field of view, share of voxels not 0, intensities, volume of a class) are notes.

    Args:
        raw_root: folder that holds the raw datasets.
        cards: entries to check.

    Yields:
        One finding for each case, and one for each entry that cannot be looked through.
    """
    seen: dict[str, tuple[str, RawCase]] = {}
    overlaps = {(c.id, o.dataset) for c in cards for o in c.overlaps}
    for card in cards:
        folder = raw_root / card.folder
        if not is_present(card, raw_root):
            continue
        try:
            reader = get_reader(card)
            cases = discover(card, raw_root)
        except BenchError as error:
            yield Finding(card.id, "", "fault", error.one_line)
            continue
        patients: dict[str, dict[str, str]] = {}
        prints: dict[str, Fingerprint] = {}
        for raw in tqdm(cases, desc=f"check {card.id}", unit="case", disable=None):
            if raw.case in card.exclude:
                yield Finding(card.id, raw.case, "excluded", card.exclude[raw.case])
                continue
            try:
                patient = patient_of(card, raw.case)
                patients.setdefault(patient.lower(), {})[patient] = raw.case
                if not raw.image:
                    continue  # what there is of it are the masks of raters
                scan = reader.read(raw)
                image, labels, missing = standardised(card, raw, scan, card.classes)
            except BenchError as error:
                yield Finding(card.id, raw.case, "fault", error.one_line)
                continue
            except Exception as error:
                yield Finding(card.id, raw.case, "fault", f"{type(error).__name__}: {error}")
                continue
            sequence = card.sequence_of(raw.case, raw.sequence)
            prints[raw.case] = fingerprint(image, labels, card.modality_of(raw.case), sequence)
            content = content_hash(image)
            first = seen.setdefault(content, (card.id, raw))
            verdict, message = _duplicate(card.id, raw, first, overlaps)
            message = "; ".join(filter(None, [message, scan.image.remark]))
            if missing:
                message = "; ".join(filter(None, [message, f"not annotated: {', '.join(missing)}"]))
            yield Finding(
                card.id,
                raw.case,
                verdict,
                message,
                shape="x".join(str(n) for n in image.array.shape),
                spacing_mm=" ".join(f"{mm:g}" for mm in image.spacing_mm),
                orientation=orientation_of(scan.image.affine),
                fingerprint=prints[raw.case],
            )
        for case, words in unlike(prints):
            yield Finding(card.id, case, "note", words)
        for spellings in patients.values():
            if len(spellings) > 1:
                names = " and ".join(f"`{name}` (case {case})" for name, case in spellings.items())
                message = (
                    f"patients {names} differ in upper and lower case only: a split takes them for "
                    "different people; rename the files if they are one"
                )
                yield Finding(card.id, "", "fault", message)
        yield from _strays(card, reader, folder)
        yield from _rater_findings(card, folder)
        yield from _overlap_findings(card, {raw.case for raw in cases}, patients)
        kept = [raw.case for raw in cases if raw.case not in card.exclude]
        for study in studies_with(card):
            yield from _list_findings(card, study, kept)


def _strays(card: DatasetCard, reader: Reader, folder: Path) -> Iterator[Finding]:
    """Labels whose image is not there, and images without a label that the card lets pass."""
    if isinstance(reader, FindsStrays):
        for kind, path in reader.strays(folder):
            verdict: Verdict = "fault" if kind.startswith("label") else "note"
            yield Finding(card.id, "", verdict, f"{kind}; {path.relative_to(folder)}")


def _rater_findings(card: DatasetCard, folder: Path) -> Iterator[Finding]:
    """Cases of which several raters' masks should be there: read, on one grid, of known values."""
    if card.raters is None:
        return
    values = {v for entry in card.annotated for v in entry.values or ()}
    known = None if card.raters.by_class else {0, *card.ignore_values, *values}
    try:
        found = find_raters(folder, card.raters)
    except BenchError as error:
        yield Finding(card.id, "", "fault", error.one_line)
        return
    for case, raters in found.items():
        if case in card.exclude:
            continue
        if fault := fault_of(raters, known):
            yield Finding(card.id, case, "note" if len(raters) < 2 else "fault", fault)
        elif card.reader == NO_IMAGE:
            yield Finding(card.id, case, "ok", f"masks of {len(raters)} raters")


def _overlap_findings(
    card: DatasetCard, cases: set[str], patients: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    """Overlaps of the card that say nothing, since nothing has the names that they give."""
    names = cases.union(*patients.values())
    known = load_cards()
    for overlap in card.overlaps:
        if overlap.dataset not in known:
            message = f"overlaps: there is no dataset `{overlap.dataset}`; it links nothing"
            yield Finding(card.id, "", "fault", message)
        listed = [*overlap.linked, *(overlap.not_linked if overlap.not_linked != "all" else ())]
        for mine in sorted({mine for mine, _ in listed} - names):
            message = f"overlaps: no case and no patient here is called `{mine}`"
            yield Finding(card.id, "", "note", message)


def _list_findings(
    card: DatasetCard, study: Study | None, cases: Sequence[str]
) -> Iterator[Finding]:
    """A study's list (or the draw, without one) against the card and the cases on disk.

    A list of the user's own names what lies there, so a case that it lists and that is missing is
    a fault. Of a public dataset, a part is often all that was downloaded: `data status` and the
    start of a run say how much.
    """
    file = split_file(card.id, study)
    try:
        listed = split_list(card, study)
    except BenchError as error:
        yield Finding(card.id, "", "fault", error.one_line)
        return
    if listed is None:
        if len(cases) != card.expected_cases:
            message = f"{len(cases)} cases are there, its card expects {card.expected_cases}"
            yield Finding(card.id, "", "note", message)
        return
    for remark in list_remarks(card, study, listed):
        yield Finding(card.id, "", "note", remark.partition(": ")[2])
    there, known = set(cases), {row.case for row in listed}
    if study is None or file != study.split_file(card.id):
        for case in (row.case for row in listed if row.case not in there):
            yield Finding(card.id, case, "fault", f"on the split list {file}, not on disk")
    for row in listed:
        with suppress(BenchError):  # said when the case itself is looked at
            if row.case in there and (patient := patient_of(card, row.case)) != row.patient:
                message = (
                    f"{file} says patient `{row.patient}`, the card's patient_pattern says "
                    f"`{patient}`: correct one of them"
                )
                yield Finding(card.id, row.case, "fault", message)
    for case in cases:
        if case not in known:
            message = f"on disk, not on the split list {file}: a run leaves it out"
            yield Finding(card.id, case, "note", message)


def _duplicate(
    dataset: str,
    raw: RawCase,
    first: tuple[str, RawCase],
    overlaps: set[tuple[str, str]],
) -> tuple[Verdict, str]:
    other_dataset, other = first
    if first == (dataset, raw):
        return "ok", ""
    same = f"same voxels as `{other.case}` of `{other_dataset}`"
    declared = {(dataset, other_dataset), (other_dataset, dataset)} & overlaps
    if dataset != other_dataset and (declared or other.image == raw.image):
        return "note", f"{same} (a declared overlap)"
    return "fault", f"{same}: one scan under two names"


def content_hash(image: Volume) -> str:
    """SHA-256 of voxels, shape and spacing in RAS: the same for another file format or name."""
    array: Array = np.ascontiguousarray(image.array.astype(np.float32))
    digest = hashlib.sha256(f"{array.shape} {image.spacing_mm}".encode())
    digest.update(array.data)
    return digest.hexdigest()


def finding_lines(findings: Sequence[Finding], most: int = 5) -> Iterator[str]:
    """One line for each finding that is not `ok`; of the same kind in one entry, the first few.

    A wrong card is wrong for every case: thousands of equal lines would hide the others.
    """
    shown: dict[tuple[str, str, str], int] = {}
    for finding in findings:
        if finding.verdict == "ok":
            continue
        first = finding.message.partition(";")[0].replace(finding.case or "\0", "")
        kind = (finding.dataset, finding.verdict, first)
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] <= most:
            name = f"{finding.dataset} {finding.case}".strip()
            yield f"{finding.verdict}: {name}: {finding.message}"
    for (dataset, verdict, _), number in shown.items():
        if number > most:
            yield f"{verdict}: {dataset}: {number - most} more like that (--json lists all)"


def count(findings: Sequence[Finding]) -> Mapping[str, dict[str, int]]:
    """Number of findings by entry and verdict."""
    table: dict[str, dict[str, int]] = {}
    for finding in findings:
        row = table.setdefault(finding.dataset, {"ok": 0, "note": 0, "fault": 0, "excluded": 0})
        row[finding.verdict] += 1
    return table
