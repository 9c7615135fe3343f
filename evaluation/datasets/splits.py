"""Which case is for training and which for testing, always by patient (DESIGN 4.8, Sec. 6.1).

The committed lists lie in `evaluation/splits/<dataset>.csv` (case, patient, split), with their
SHA-256 in `hashes.csv`; `README.md` there says where each list comes from. An entry without a
list is drawn: a hash of seed, dataset and patient puts its patients into an order that no other
patient changes, and the first of them test until the card's counts hold (`drawn_sides`). So the
counts are exact wherever they can be, and a case more or less moves a patient or two, no more.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.datasets.draw import Say, drawn_sides, silent
from evaluation.errors import BenchError
from evaluation.files.card_places import CardFile, split_place, stamped

if TYPE_CHECKING:
    from evaluation.config import RunConfig
    from evaluation.datasets.card import DatasetCard

SPLIT_FOLDER = Path(__file__).parents[1] / "splits"
COLUMNS = ("case", "patient", "split")
EFFECTIVE_COLUMNS = (*COLUMNS, "image", "labels")
LAYOUTS = (COLUMNS, EFFECTIVE_COLUMNS)
DRAWN = ("seeded", "none")
"""Rules that need no list; a card with any other rule promises one."""


@dataclass(frozen=True)
class SplitRow:
    """One case, the person it shows, and its side (`train` or `test`).

    In a run's effective split, `image` and `labels` are digests of the standardised case: what
    hangs on the split is made again when a case has another content.
    """

    case: str
    patient: str
    split: str
    image: str = ""
    labels: str = ""


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `liver_9` before `liver_10`."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), p) if p.isdigit() else (1, 0, p) for p in parts)


def committed_split(dataset: str, folder: Path = SPLIT_FOLDER) -> tuple[SplitRow, ...] | None:
    """The committed list of an entry in its order (shards count along it); None without one.

    The list of a user's own dataset lies beside its card in `config/datasets`.

    Raises:
        BenchError: the file is not a valid list.
    """
    path = split_file(dataset, folder)
    return _rows_of(stamped(path)) if path.is_file() else None


@lru_cache(maxsize=256)
def _rows_of(file: CardFile) -> tuple[SplitRow, ...]:
    return tuple(read_split_file(file.path))


def split_file(dataset: str, folder: Path = SPLIT_FOLDER) -> Path:
    """Where the list of an entry lies, or would lie if it had one."""
    path = folder / f"{dataset}.csv"
    return path if path.is_file() else split_place(dataset)


def read_split_file(path: Path) -> list[SplitRow]:
    """Read and check a list of cases.

    Raises:
        BenchError: wrong columns, an unknown side, a case twice, a patient on both sides.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames is None or tuple(reader.fieldnames) not in LAYOUTS:
            raise BenchError(
                "not a split list", file=path, found=reader.fieldnames, expected=",".join(COLUMNS)
            )
        columns = tuple(reader.fieldnames)
        rows = [SplitRow(**{name: row[name] or "" for name in columns}) for row in reader]
    sides: dict[str, str] = {}
    seen: set[str] = set()
    for row in rows:
        if row.split not in ("train", "test"):
            raise BenchError(
                f"case `{row.case}` has an unknown side",
                file=path,
                found=row.split,
                expected="train or test",
            )
        if row.case in seen:
            raise BenchError(f"case `{row.case}` is listed twice", file=path)
        if sides.setdefault(row.patient, row.split) != row.split:
            raise BenchError(
                f"patient `{row.patient}` is on both sides of the split",
                file=path,
                hint="put all cases of a patient on one side",
            )
        seen.add(row.case)
    return rows


def planned_cases(card: DatasetCard, config: RunConfig) -> list[SplitRow] | None:
    """Cases that a run is planned for, without looking at any data.

    Virtual patients for a synthetic run, the committed list for a real one, None if an entry has
    no list (it is then planned from the counts in its card).

    Raises:
        BenchError: the card's rule stands for a list that is not there.
    """
    if config.data_kind == "synthetic":
        from evaluation.datasets.phantoms import roster

        if config.cohort is None:
            raise BenchError(f"configuration `{config.name}` is synthetic and has no cohort")
        cohort = roster(card.id, config.cohort.patients, config.cohort.test_patients)
        return [SplitRow(row.case, row.patient, row.split) for row in cohort]
    return split_list(card)


def split_list(card: DatasetCard) -> list[SplitRow] | None:
    """The list of an entry; None if its card has patients drawn, or no training side, without one.

    Raises:
        BenchError: the list is not valid, or the card's rule stands for one that is not there.
    """
    listed = committed_split(card.id)
    if listed is None and card.split.rule not in DRAWN:
        raise BenchError(
            f"`{card.id}` asks for a split of its own, and its list is not there",
            file=split_file(card.id),
            found=f"`rule: {card.split.rule}` in its card",
            expected="a CSV with the columns " + ",".join(COLUMNS) + " (train or test)",
            hint="write that file, or `rule: seeded` into the card to have patients drawn",
        )
    return None if listed is None else list(listed)


def effective_split(
    card: DatasetCard,
    config: RunConfig,
    present: Sequence[tuple[str, str]],
    say: Say = silent,
    failed: Sequence[tuple[str, str]] = (),
) -> list[SplitRow]:
    """The split of a run: planned sides for the cases that are there.

    Args:
        card: the entry.
        config: the run's configuration (kind of data, seed).
        present: (case, patient) of the cases that standardised well.
        say: called with one sentence for each departure from the plan.
        failed: the same of those that did not: they are in no row, but a draw counts them, so
            that a case which breaks or is repaired moves nobody else.

    Raises:
        BenchError: no case is there, or none of them is on the list.
    """
    if not present:
        raise BenchError(
            f"`{card.id}` has no usable case",
            hint="look into the reasons in the case tables of this entry",
        )
    planned = planned_cases(card, config)
    return (
        _by_rule(card, config.seed, present, failed, say)
        if planned is None
        else _by_list(card, planned, present, say)
    )


def list_remarks(card: DatasetCard, listed: Sequence[SplitRow]) -> Iterator[str]:
    """Where a list and its card contradict each other; the list is what is used."""
    file = split_file(card.id)
    if file.parent != SPLIT_FOLDER and card.split.rule in DRAWN:
        yield f"{card.id}: {file} divides its cases, whatever `rule: {card.split.rule}` says"
    sides = Counter(row.split for row in listed)
    if (sides["train"], sides["test"]) != (card.split.train, card.split.test):
        yield (
            f"{card.id}: {file} has {sides['train']} training and {sides['test']} test cases, its "
            f"card says {card.split.train} and {card.split.test}"
        )


def split_gap(card: DatasetCard, config: RunConfig, rows: Sequence[SplitRow]) -> str | None:
    """How a drawn split misses the counts of its card; None if it does not, or there is a list.

    Listed cases that are not there are another matter (`gaps.find_gap`).
    """
    if planned_cases(card, config) is not None:
        return None
    found = Counter(row.split for row in rows)
    if (found["train"], found["test"]) == (card.split.train, card.split.test):
        return None
    return (
        f"{card.id}: {found['train']} training and {found['test']} test cases are drawn; its card "
        f"asks for {card.split.train} and {card.split.test}"
    )


def _by_list(
    card: DatasetCard, planned: list[SplitRow], present: Sequence[tuple[str, str]], say: Say
) -> list[SplitRow]:
    there = {case for case, _ in present}
    rows = [row for row in planned if row.case in there]
    listed = {row.case for row in planned}
    unlisted = sorted(there - listed, key=natural_key)
    if not rows:
        raise BenchError(
            f"none of the {len(there)} cases of `{card.id}` is on its split list",
            file=split_file(card.id),
            found=", ".join(unlisted[:5]),
            expected=", ".join(row.case for row in planned[:5]),
            hint="the raw folder holds another release or dataset, or its files are renamed",
        )
    if unlisted:
        say(
            f"{card.id}: {len(unlisted)} cases are not on the split list and are left out: "
            + ", ".join(unlisted[:5])
            + (" …" if len(unlisted) > 5 else "")
        )
    if len(rows) < len(planned):
        say(f"{card.id}: {len(rows)} of the {len(planned)} listed cases are there")
    return rows


def _by_rule(
    card: DatasetCard,
    seed: int,
    present: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, str]],
    say: Say,
) -> list[SplitRow]:
    sides = drawn_sides(card, seed, Counter(who for _, who in (*present, *failed)), say)
    return [
        SplitRow(case, patient, sides[patient])
        for case, patient in sorted(present, key=lambda pair: natural_key(pair[0]))
    ]


def split_text(rows: Iterable[SplitRow], columns: Sequence[str] = COLUMNS) -> str:
    """The CSV text of a list."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, column) for column in columns] for row in rows)
    return stream.getvalue()
