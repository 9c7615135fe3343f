"""The scans that an audit compares: of a run's standardised cases, or of raw folders."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.audit.fingerprint import VERSION
from evaluation.cases import read_case_record
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.draw import drawn_sides
from evaluation.datasets.readers import discover, get_reader
from evaluation.datasets.readers.base import RawCase
from evaluation.datasets.splits import committed_split, read_split_file, split_rule, studies_with
from evaluation.datasets.standardise import patient_of
from evaluation.datasets.status import is_present
from evaluation.errors import BenchError
from evaluation.files.writing import visible
from evaluation.paths import RunPaths
from evaluation.volumes.image_files import Volume, read_volume


@dataclass(frozen=True)
class Scan:
    """One scan, its person and side, and how to load it.

    Args:
        dataset: entry id.
        case: case id.
        patient: patient id within the entry.
        split: its side.
        source: a standardised image, an entry's card and raw case, or the image itself.
        key: changes whenever the fingerprint must be made anew; "" if the scan is not there.
    """

    dataset: str
    case: str
    patient: str
    split: str
    source: Path | tuple[DatasetCard, RawCase] | Volume
    key: str

    @property
    def name(self) -> str:
        """Entry and case."""
        return f"{self.dataset}/{self.case}"

    def load(self) -> Volume:
        """The image (x, y, z).

        Raises:
            BenchError: it cannot be read.
        """
        if isinstance(self.source, Path):
            return read_volume(self.source)
        if isinstance(self.source, Volume):
            return self.source
        card, raw = self.source
        return get_reader(card).read(raw).image


def scans_of_run(run: Path) -> list[Scan]:
    """All cases on the split lists of a run, by entry.

    Raises:
        BenchError: no entry of this run has a split.
    """
    paths = RunPaths(run)
    lists = visible(run / "splits", "*.csv")
    if not lists:
        raise BenchError(
            "this run has no splits",
            file=run / "splits",
            hint="`satbench standardise` and `satbench split` come first; snakemake runs them",
        )
    scans = []
    for path in lists:
        dataset = path.stem
        for row in read_split_file(path):
            folder = paths.case(dataset, row.case)
            image = folder / "image.nii.gz"
            scans.append(Scan(dataset, row.case, row.patient, row.split, image, _case_key(folder)))
    return scans


def _case_key(folder: Path) -> str:
    """The content of the image, so that a case whose labels changed keeps its fingerprint."""
    try:
        return _digest(read_case_record(folder).image)
    except (BenchError, OSError):
        return ""


def scans_of_raw(
    raw_root: Path, cards: Sequence[DatasetCard], say: Callable[[str], None]
) -> list[Scan]:
    """All cases of raw folders, with the sides of the first built-in study that has the entry.

    A patient who is on no list gets the side that a run with seed 0 would give, or the training
    side where nothing divides the entry.

    Args:
        raw_root: folder that holds the raw datasets.
        cards: entries to look for; those without data are left out.
        say: called with a sentence for every entry that cannot be looked through.
    """
    scans = []
    for card in cards:
        if not is_present(card, raw_root):
            continue
        try:
            cases = discover(card, raw_root)
        except BenchError as error:
            say(f"{card.id}: {error.one_line}")
            continue
        study = next(iter(studies_with(card)), None)
        rows = committed_split(card.id, study) or ()
        listed = {row.case: row.patient for row in rows}
        people: dict[str, str] = {}
        for raw in cases:
            try:
                if raw.case not in card.exclude:
                    people[raw.case] = listed.get(raw.case) or patient_of(card, raw.case)
            except BenchError as error:
                say(f"{card.id}: {error.one_line}")
        sides = dict.fromkeys(people.values(), "train")
        if studies_with(card):
            sides = drawn_sides(card, split_rule(card, study), 0, Counter(people.values()))
        sides |= {row.patient: row.split for row in rows}
        scans += [
            Scan(card.id, raw.case, who, sides[who], (card, raw), _raw_key(card, raw))
            for raw in cases
            if (who := people.get(raw.case))
        ]
    return scans


def _raw_key(card: DatasetCard, raw: RawCase) -> str:
    try:
        states = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in raw.image]
    except OSError:
        return ""
    return _digest(card.reader, card.reader_args, states)


def _digest(*parts: object) -> str:
    text = json.dumps([VERSION, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
