"""Which case is for training, validation and testing, always by patient (DESIGN 4.8, Sec. 6.1).

A study divides an entry by what the entry's card says for it (`splits`), else by its own list,
else by the card's own rule (`split`). An entry of another study that a run takes in is divided as
that study divides it (`dividing_study`). Lists (case, patient, split) lie in the study's folder, a
user's own beside the card. An entry without a list is drawn: a hash of seed, dataset and patient
puts its patients into an order that no other patient changes, and the first of them test until
the rule's counts hold (`drawn_sides`). So the counts are exact wherever they can be, and a case
more or less moves a patient or two, no more.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.datasets.card import DatasetCard, Split
from evaluation.datasets.draw import Say, drawn_sides, silent
from evaluation.errors import BenchError
from evaluation.files.card_places import CardFile, split_place, stamped
from evaluation.files.reading import require_folder_name, text_of
from evaluation.protocol import SIDES
from evaluation.studies.record import Study, find_study, study_ids

if TYPE_CHECKING:
    from evaluation.config import RunConfig

COLUMNS = ("case", "patient", "split")
EFFECTIVE_COLUMNS = (*COLUMNS, "image", "labels")
LAYOUTS = (COLUMNS, EFFECTIVE_COLUMNS)
DRAWN = ("seeded", "leave-one-out", "none")
"""Rules that need no list; any other one promises it."""


@dataclass(frozen=True)
class SplitRow:
    """One case, the person it shows, and its side (one of `SIDES`).

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


def dividing_study(dataset: str, study: Study | None) -> Study | None:
    """The study that divides an entry of a run: the run's own, or the one whose entry it is.

    A study that neither names the entry nor has a list of it says nothing of it; then the first
    built-in study that has it does, if one has.
    """
    if study is None or dataset in study.entries:
        return study
    own = study.split_file(dataset)
    if own is not None and own.is_file():
        return study
    others = (other for other in map(find_study, study_ids()) if dataset in other.entries)
    return next(others, study)


def split_rule(card: DatasetCard, study: Study | None) -> Split:
    """By which rule, and into how many cases, a study divides an entry.

    Args:
        card: the entry.
        study: None for the card's own rule.

    Raises:
        BenchError: neither the study nor the card divides it.
    """
    study = dividing_study(card.id, study)
    if study is not None:
        if study.id in card.splits:
            return card.splits[study.id]
        path = study.split_file(card.id)
        if path is not None and path.is_file():
            sides = Counter(row.split for row in _rows_of(stamped(path)))
            counts = {side: sides[side] for side in SIDES}
            return Split.model_validate({**counts, "rule": "listed"})
    if card.split is None:
        named = "of its own" if study is None else f"in the study `{study.id}`"
        raise BenchError(
            f"`{card.id}` has no split {named}",
            file=split_file(card.id, study),
            found=f"rules of {', '.join(card.splits)}" if card.splits else "no rule in its card",
            expected="a list of its cases in that file, or a rule `split` in its card",
            hint="leave it out of `entries`, or choose a study that divides it",
        )
    return card.split


def studies_with(card: DatasetCard) -> list[Study | None]:
    """Built-in studies that have an entry, for a look at a dataset outside any run.

    Where there are none: only None, the card's own rule, if it has one.
    """
    found = [study for study in map(find_study, study_ids()) if card.id in study.entries]
    return [*found] or ([] if card.split is None else [None])


def committed_split(dataset: str, study: Study | None) -> tuple[SplitRow, ...] | None:
    """A study's list of an entry in its order (shards count along it); None without one.

    The list of a user's own dataset may lie beside its card in `config/datasets`.

    Raises:
        BenchError: the file is not a valid list.
    """
    path = split_file(dataset, study)
    return _rows_of(stamped(path)) if path.is_file() else None


@lru_cache(maxsize=256)
def _rows_of(file: CardFile) -> tuple[SplitRow, ...]:
    return tuple(read_split_file(file.path))


def split_file(dataset: str, study: Study | None) -> Path:
    """Where a study's list of an entry lies; without one, where a user's own lies, or would lie."""
    study = dividing_study(dataset, study)
    path = None if study is None else study.split_file(dataset)
    return path if path is not None and path.is_file() else split_place(dataset)


def read_split_file(path: Path) -> list[SplitRow]:
    """Read and check a list of cases.

    Raises:
        BenchError: wrong columns, an unknown side, a case twice, a patient on two sides.
    """
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""), strict=True)
    try:
        lines = list(reader)
        columns = tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise BenchError(
            "not a split list", file=path, found=error, expected=",".join(COLUMNS)
        ) from error
    if columns not in LAYOUTS:
        raise BenchError(
            "not a split list", file=path, found=reader.fieldnames, expected=",".join(COLUMNS)
        )
    for line in lines:
        if None in line or not (line["case"] and line["patient"]):
            raise BenchError(
                "a row of the split list has too many or too few cells", file=path,
                found=", ".join(str(v) for v in line.values()), expected=",".join(columns),
            )  # fmt: skip
    rows = [SplitRow(**{name: line[name] or "" for name in columns}) for line in lines]
    if not rows:
        raise BenchError("the split list lists no case", file=path)
    sides: dict[str, str] = {}
    seen: set[str] = set()
    for row in rows:
        if row.split not in SIDES:
            raise BenchError(
                f"case `{row.case}` has an unknown side",
                file=path,
                found=row.split,
                expected=", ".join(SIDES),
            )
        require_folder_name(row.case, path)
        if row.case in seen:
            raise BenchError(f"case `{row.case}` is listed twice", file=path)
        if sides.setdefault(row.patient, row.split) != row.split:
            raise BenchError(
                f"patient `{row.patient}` is on two sides of the split",
                file=path,
                hint="put all cases of a patient on one side",
            )
        seen.add(row.case)
    return rows


def planned_cases(card: DatasetCard, config: RunConfig) -> list[SplitRow] | None:
    """Cases that a run is planned for, without looking at any data.

    Virtual patients for a synthetic run (all of them test where the study trains on none), the
    committed list for a real one, None if an entry has no list (it is then planned from the counts
    in its card).

    Raises:
        BenchError: its rule stands for a list that is not there, or it has no rule.
    """
    study = find_study(config.study)
    trains = split_rule(card, study).train > 0
    if config.data_kind == "synthetic":
        from evaluation.datasets.phantoms import roster

        if config.cohort is None:
            raise BenchError(f"configuration `{config.name}` is synthetic and has no cohort")
        cohort = roster(card.id, config.cohort.patients, config.cohort.test_patients)
        return [SplitRow(r.case, r.patient, r.split if trains else "test") for r in cohort]
    return split_list(card, study)


def has_training_side(card: DatasetCard, config: RunConfig) -> bool:
    """Whether a run has, or plans, training cases of an entry: some are only tested on."""
    return split_rule(card, find_study(config.study)).train > 0


def split_list(card: DatasetCard, study: Study | None) -> list[SplitRow] | None:
    """The list of an entry; None if its rule has patients drawn, or no training side, without one.

    Raises:
        BenchError: the list is not valid, the entry's rule stands for one that is not there, or
            there is no rule.
    """
    listed, rule = committed_split(card.id, study), split_rule(card, study).rule
    if listed is None and rule not in DRAWN:
        raise BenchError(
            f"`{card.id}` asks for a split of its own, and its list is not there",
            file=split_file(card.id, study),
            found=f"`rule: {rule}` in its card",
            expected="a CSV with the columns " + ",".join(COLUMNS) + f" ({', '.join(SIDES)})",
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
        config: the run's configuration (study, kind of data, seed).
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
    study = find_study(config.study)
    if planned is not None:
        return _by_list(split_file(card.id, study), card, planned, present, say)
    people = Counter(who for _, who in (*present, *failed))
    sides = drawn_sides(card, split_rule(card, study), config.seed, people, say, config.fold)
    return [
        SplitRow(case, patient, sides[patient])
        for case, patient in sorted(present, key=lambda pair: natural_key(pair[0]))
    ]


def list_remarks(
    card: DatasetCard, study: Study | None, listed: Sequence[SplitRow]
) -> Iterator[str]:
    """Where a list and its card contradict each other; the list is what is used."""
    file, rule = split_file(card.id, study), split_rule(card, study)
    if rule.rule in DRAWN:
        yield f"{card.id}: {file} divides its cases, whatever `rule: {rule.rule}` says"
    found = _counts(listed)
    if found != rule.sides:
        yield f"{card.id}: {file} has {_words(found)}, its card says {_words(rule.sides)}"


def _counts(rows: Iterable[SplitRow]) -> dict[str, int]:
    found = Counter(row.split for row in rows)
    return {side: found[side] for side in SIDES}


def _words(counts: Mapping[str, int]) -> str:
    """Such as `8 training and 2 test cases`; validation cases are named where there are any."""
    validation = f", {counts['validation']} validation" if counts["validation"] else ""
    return f"{counts['train']} training{validation} and {counts['test']} test cases"


def split_gap(card: DatasetCard, config: RunConfig, rows: Sequence[SplitRow]) -> str | None:
    """How a drawn split misses the counts of its card; None if it does not, or there is a list.

    Listed cases that are not there are another matter (`gaps.find_gap`).
    """
    if planned_cases(card, config) is not None:
        return None
    found, rule = _counts(rows), split_rule(card, find_study(config.study))
    # One left out is exact by its patients, whatever number of scans they have.
    if rule.rule == "leave-one-out" or found == rule.sides:
        return None
    return f"{card.id}: {_words(found)} are drawn; its card asks for {_words(rule.sides)}"


def _by_list(
    file: Path,
    card: DatasetCard,
    planned: list[SplitRow],
    present: Sequence[tuple[str, str]],
    say: Say,
) -> list[SplitRow]:
    there = {case for case, _ in present}
    rows = [row for row in planned if row.case in there]
    listed = {row.case for row in planned}
    unlisted = sorted(there - listed, key=natural_key)
    if not rows:
        raise BenchError(
            f"none of the {len(there)} cases of `{card.id}` is on its split list",
            file=file,
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


def split_text(rows: Iterable[SplitRow], columns: Sequence[str] = COLUMNS) -> str:
    """The CSV text of a list."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, column) for column in columns] for row in rows)
    return stream.getvalue()
