"""Which case is for training and which for testing, always by patient (DESIGN 4.8, Sec. 6.1).

The committed lists lie in `evaluation/splits/<dataset>.csv` (case, patient, split), with their
SHA-256 in `hashes.csv`; `README.md` there says where each list comes from. An entry without a
list is divided by a hash of its patient ids, so that a patient's side never depends on which
other patients happen to be there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluation.card_places import CardFile, split_place, stamped
from evaluation.errors import BenchError
from evaluation.files import write_text

if TYPE_CHECKING:
    from evaluation.config import RunConfig
    from evaluation.datasets.card import DatasetCard

SPLIT_FOLDER = Path(__file__).parents[1] / "splits"
COLUMNS = ("case", "patient", "split")
Side = Literal["train", "test"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class SplitRow:
    """One case, the person it shows, and its side (`train` or `test`)."""

    case: str
    patient: str
    split: str


def _silent(_message: str) -> None:
    return None


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
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BenchError(
                "not a split list", file=path, found=reader.fieldnames, expected=",".join(COLUMNS)
            )
        rows = [SplitRow(r["case"], r["patient"], r["split"]) for r in reader]
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
    """
    if config.data_kind == "synthetic":
        from evaluation.datasets.phantoms import roster

        if config.cohort is None:
            raise BenchError(f"configuration `{config.name}` is synthetic and has no cohort")
        cohort = roster(card.id, config.cohort.patients, config.cohort.test_patients)
        return [SplitRow(row.case, row.patient, row.split) for row in cohort]
    listed = committed_split(card.id)
    return None if listed is None else list(listed)


def seeded_side(card: DatasetCard, patient: str, seed: int) -> Side:
    """Side of a patient where no list exists: a hash of seed, dataset and patient id.

    The share of test patients is the one that the card's counts have. The side depends on
    nothing but these three, so it stays when cases are added or missing; the counts are met on
    average only.
    """
    share = card.split.test / max(1, card.split.train + card.split.test)
    return "test" if patient_draw(card.id, patient, seed) < share else "train"


def patient_draw(dataset: str, patient: str, seed: int) -> float:
    """A number in [0, 1) that a patient always gets, whoever else is there."""
    digest = hashlib.sha256(f"{seed}/{dataset}/{patient}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def effective_split(
    card: DatasetCard,
    config: RunConfig,
    present: Sequence[tuple[str, str]],
    say: Say = _silent,
) -> list[SplitRow]:
    """The split of a run: planned sides for the cases that are there.

    Args:
        card: the entry.
        config: the run's configuration (kind of data, seed).
        present: (case, patient) of the cases that standardised well.
        say: called with one sentence for each departure from the plan.

    Raises:
        BenchError: no case is there, or none of them is on the list.
    """
    if not present:
        raise BenchError(
            f"`{card.id}` has no usable case",
            hint="look into the reasons in the case tables of this entry",
        )
    planned = planned_cases(card, config)
    rows = (
        _by_rule(card, config.seed, present, say)
        if planned is None
        else _by_list(card, planned, present, say)
    )
    for side, expected in (("train", card.split.train), ("test", card.split.test)):
        found = sum(row.split == side for row in rows)
        if planned is None and found != expected:
            say(f"{card.id}: {found} {side} cases, its card expects {expected}")
    return rows


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
    card: DatasetCard, seed: int, present: Sequence[tuple[str, str]], say: Say
) -> list[SplitRow]:
    if card.split.rule == "none":
        sides: dict[str, Side] = {patient: "test" for _, patient in present}
    else:
        sides = {patient: seeded_side(card, patient, seed) for _, patient in present}
        say(f"{card.id}: no committed list; each patient's side is drawn from the seed {seed}")
    wanted: dict[Side, int] = {"train": card.split.train, "test": card.split.test}
    draw = {patient: patient_draw(card.id, patient, seed) for patient in sides}
    choices: tuple[tuple[Side, Callable[..., str]], ...] = (("test", min), ("train", max))
    for side, extreme in choices:
        if wanted[side] and side not in sides.values() and len(sides) > 1:
            # Few patients: without this a small dataset could have nothing to test on.
            patient = extreme(draw, key=draw.__getitem__)
            sides[patient] = side
            say(f"{card.id}: patient {patient} was moved to {side}, which was empty")
    return [
        SplitRow(case, patient, sides[patient])
        for case, patient in sorted(present, key=lambda pair: natural_key(pair[0]))
    ]


def split_text(rows: Iterable[SplitRow]) -> str:
    """The CSV text of a list."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((row.case, row.patient, row.split) for row in rows)
    return stream.getvalue()


def write_split(run: Path, dataset: str, say: Say = _silent) -> Path:
    """Write a run's effective split of one entry from what its case shards say.

    Args:
        run: the run folder.
        dataset: dataset id.
        say: called with one sentence for each departure from the plan.

    Returns:
        The file written.

    Raises:
        BenchError: no shard is there, or no case of the entry is usable.
    """
    from evaluation.config import load_frozen
    from evaluation.datasets.registry import find_card
    from evaluation.paths import RunPaths

    config, paths, card = load_frozen(run), RunPaths(run), find_card(dataset)
    shards = paths.case_shard(card.id, 0).parent
    present: list[tuple[str, str]] = []
    n_failed = 0
    tables = [p for p in sorted(shards.glob("*.csv")) if p.stem.isdigit()]
    if not tables:
        raise BenchError("no standardised cases", file=shards, hint="run `satbench standardise`")
    for path in tables:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["status"] == "ok":
                    present.append((row["case"], row["patient"]))
                n_failed += row["status"] == "failed"
    if n_failed:
        say(f"{card.id}: {n_failed} cases could not be standardised; {shards} says why")
    rows = effective_split(card, config, present, say)
    write_text(paths.split(card.id), split_text(rows))
    return paths.split(card.id)
