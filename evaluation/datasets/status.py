"""Which raw datasets are there, how complete they are, and how to get the others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import load_cards
from evaluation.datasets.splits import split_list, studies_with
from evaluation.errors import BenchError
from evaluation.files.identity import digest, listing
from evaluation.files.writing import is_hidden, visible

if TYPE_CHECKING:
    from evaluation.config import RunConfig

State = Literal["present", "partial", "absent", "unusable"]
N_EXAMPLES = 5


@dataclass(frozen=True)
class EntryStatus:
    """What is known of one entry under a raw root.

    Args:
        dataset: dataset id.
        title: its name.
        state: `present` (all expected cases), `partial`, `absent`, or `unusable` (files are
            there, but not in the layout of the card; `problem` says why).
        found_cases: cases found by name; files are not opened.
        expected_cases: cases that the card expects.
        found_patients: people among them.
        expected_patients: people that the card expects.
        missing: some of the listed cases that are not there.
        unlisted: some of the cases that are there and not on the split list.
        folder: where the files must lie.
        layout: how they must lie in it.
        source: what to download, and where it is published.
        steps: what to do.
        access: open, registration, agreement or unavailable.
        licence: terms of use.
        licence_verified: whether the terms were read at the source.
        problem: what makes it unusable, on one line.
    """

    dataset: str
    title: str
    state: State
    found_cases: int
    expected_cases: int
    found_patients: int
    expected_patients: int
    missing: tuple[str, ...]
    unlisted: tuple[str, ...]
    folder: str
    layout: str
    source: str
    steps: str
    access: str
    licence: str
    licence_verified: bool
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def present_entries(raw_root: Path, cards: Iterable[DatasetCard] | None = None) -> dict[str, bool]:
    """For every entry: does its folder hold anything? No folder is walked, no file opened.

    The workflow asks at each start, so this costs a few system calls for each entry.
    """
    known = load_cards().values() if cards is None else cards
    return {card.id: is_present(card, raw_root) for card in known}


def is_present(card: DatasetCard, raw_root: Path) -> bool:
    """Whether the entry's folder (and the folder of its images, if another) is not empty."""
    folder = raw_root / card.folder
    if not all(map(_holds_something, raw_folders(card, raw_root))):
        return False
    return not card.markers or any(visible(folder, m) for m in card.markers)


def raw_folders(card: DatasetCard, raw_root: Path) -> list[Path]:
    """The entry's folder, and that of its images if they belong to another dataset."""
    folder = raw_root / card.folder
    images = card.reader_args.get("image_folder")
    return [folder, folder.parent / str(images)] if images else [folder]


def raw_state(card: DatasetCard, config: RunConfig) -> str:
    """Digest of names, sizes and times of an entry's raw files; no file is opened.

    Virtual patients count as they were written: only what was changed since then is told, so that
    a run can be planned before they are there.
    """
    root = Path(config.raw_root)
    if config.data_kind == "real":
        return digest([listing(folder) for folder in raw_folders(card, root)])
    from evaluation.datasets.phantoms import goes_on, written_files

    cohort = config.cohort
    if cohort is None or not goes_on(root, config.seed, cohort.patients):
        return ""  # all of them are written anew
    written = written_files(root, card.id)
    found = {f"{card.folder}/{name}": s for name, s in listing(root / card.folder).items()}
    changed = {
        name: found.get(name)
        for name in {*written, *found}
        if written and found.get(name) != written.get(name)
    }
    return digest(changed) if changed else ""


def _holds_something(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not is_hidden(entry.name) for entry in entries)
    except OSError:
        return False


def entry_status(card: DatasetCard, raw_root: Path) -> EntryStatus:
    """Find the cases of one entry by name and compare them with the card and the split list."""
    from evaluation.datasets.readers import discover
    from evaluation.datasets.standardise import patient_of

    found: list[str] = []
    patients: set[str] = set()
    problem = ""
    state: State = "absent"
    if is_present(card, raw_root):
        try:
            discovered = discover(card, raw_root)
            found = [raw.case for raw in discovered if raw.case not in card.exclude]
            patients = {patient_of(card, case) for case in found}
            state = "present" if len(found) >= card.expected_cases else "partial"
        except BenchError as error:
            state, problem = "unusable", error.one_line
    listed: list[str] = []
    try:
        for study in studies_with(card)[:1]:
            listed = [row.case for row in split_list(card, study) or ()]
    except BenchError as error:
        problem = problem or error.one_line
    missing: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    if found and listed:
        there, wanted = set(found), set(listed)
        missing = tuple(case for case in listed if case not in there)
        unlisted = tuple(case for case in found if case not in wanted)
        if missing:
            state = "partial"
    return EntryStatus(
        dataset=card.id,
        title=card.title,
        state=state,
        found_cases=len(found),
        expected_cases=card.expected_cases,
        found_patients=len(patients),
        expected_patients=card.expected_patients,
        missing=missing[:N_EXAMPLES],
        unlisted=unlisted[:N_EXAMPLES],
        folder=str(raw_root / card.folder),
        layout=card.layout,
        source=f"{card.source.name}: {card.source.where}",
        steps=card.source.steps,
        access=card.access,
        licence=card.licence.name,
        licence_verified=card.licence.verified,
        problem=problem,
    )


def data_status(raw_root: Path, cards: Iterable[DatasetCard] | None = None) -> list[EntryStatus]:
    """The status of all entries in alphabetical order.

    Raises:
        BenchError: there is no such folder.
    """
    if not raw_root.is_dir():
        raise BenchError(
            "the raw root is not a folder",
            file=raw_root,
            hint="name the folder that holds (or will hold) the raw datasets; create it first",
        )
    known = load_cards().values() if cards is None else cards
    return [entry_status(card, raw_root) for card in known]


def status_text(entries: list[EntryStatus]) -> str:
    """A page for a terminal: a table, then what to download."""
    from tabulate import tabulate

    rows = [
        (
            e.dataset,
            e.state,
            f"{e.found_cases}/{e.expected_cases}",
            f"{e.found_patients}/{e.expected_patients}",
            e.access,
            e.licence + ("" if e.licence_verified else " (unverified)"),
        )
        for e in entries
    ]
    heads = ("entry", "state", "cases", "patients", "access", "licence")
    # Without this, tabulate takes "1/20" or a licence's version for a number.
    lines = [tabulate(rows, headers=heads, disable_numparse=True), ""]
    for entry in entries:
        if entry.problem:
            lines.append(f"{entry.dataset}: {entry.problem}")
        if entry.missing:
            lines.append(f"{entry.dataset}: not there, e.g. {', '.join(entry.missing)}")
        if entry.unlisted:
            lines.append(f"{entry.dataset}: not on the split list: {', '.join(entry.unlisted)}")
    wanted = [e for e in entries if e.state in ("absent", "partial", "unusable")]
    if wanted:
        lines += ["", "To get the rest:"]
    for entry in wanted:
        lines += [
            f"- {entry.dataset} ({entry.access}): {entry.source}",
            f"    {entry.steps}",
            f"    layout in {entry.folder}: {entry.layout}",
        ]
    n_there = sum(e.state in ("present", "partial") for e in entries)
    lines += ["", f"{n_there} of {len(entries)} entries have cases."]
    return "\n".join(lines)
