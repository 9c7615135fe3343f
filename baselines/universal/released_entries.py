"""Which row of a public release is which class: the file of entries, and what is wrong in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from baselines.universal.config import ONE_FOR_EACH_ENTRY
from baselines.universal.entries import UNKNOWN
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.records import Record, read_mapping, validated

PUBLISHED_ENTRIES = Path(__file__).parent / "released_entries.yaml"


class ReleasedEntry(Record):
    """What a release knows of an entry.

    Attributes:
        rows: class -> row of the task tables; or channel of the output (0 is the background), or
            several channels whose union it is.
        modality: row of the modality tables, or the row of each sequence; none: unknown.
    """

    rows: dict[str, int | tuple[int, ...]]
    modality: int | dict[str, int] | None = None

    def rows_of(self, name: str) -> tuple[int, ...]:
        """The rows of a class, mostly one."""
        rows = self.rows[name]
        return (rows,) if isinstance(rows, int) else rows

    @property
    def sequences(self) -> dict[str, int]:
        """The row of each sequence that has one of its own."""
        return self.modality if isinstance(self.modality, dict) else {}

    @property
    def one_modality(self) -> int:
        """The row of scans without a sequence that has one of its own."""
        return self.modality if isinstance(self.modality, int) else UNKNOWN


def read_entries(path: Path) -> dict[str, ReleasedEntry]:
    """The file of entries: `<dataset>: {modality: 0, rows: {<class>: 3, ...}}`.

    `modality: {t1in: 2, t2spir: 3}` says it for each sequence, by the names of the dataset's card.

    Raises:
        BenchError: it is not valid, holds no entry or one without classes, or names a dataset, a
            class or a sequence that there is not.
    """
    found = {}
    for dataset, values in read_mapping(path).items():
        where = f"{path}, {dataset}"
        if not isinstance(values, dict):
            raise BenchError("an entry is a mapping", file=where, expected="rows: {class: row}")
        entry = validated(values, where, ReleasedEntry)
        card = find_card(str(dataset))
        if not entry.rows or not all(map(entry.rows_of, entry.rows)):
            raise BenchError(
                "an entry needs classes, and each of them a row", file=where, found=entry.rows,
                expected="rows: {class: row}, with classes of " + ", ".join(card.class_names),
            )  # fmt: skip
        _known("class", entry.rows, card.class_names, str(dataset), path)
        _known("sequence", entry.sequences, card.sequences, str(dataset), path)
        found[str(dataset)] = entry
    if not found:
        raise BenchError(
            "no entry in this file", file=path, expected="<dataset>: {rows: {class: row}}"
        )
    return found


def _known(what: str, given: Iterable[str], known: Sequence[str], dataset: str, path: Path) -> None:
    for name in given:
        if name not in known:
            raise BenchError(
                f"`{dataset}` has no {what} `{name}`",
                file=path,
                hint=did_you_mean(name, known) if known else f"its card names no {what}",
            )


def entries_file(system: str, given: Path | None) -> Path:
    """The file of entries for a release: the user's, or that of Hermes' published training.

    Raises:
        BenchError: the user names none, and the system's networks are of one entry each.
    """
    if given is None and system in ONE_FOR_EACH_ENTRY:
        raise BenchError(
            f"a release of `{system}` is of one entry, and does not say of which",
            expected="--entries FILE, with `<dataset>: {rows: {<class>: <channel>, ...}}`",
        )
    return PUBLISHED_ENTRIES if given is None else given


def require_rows_within(
    rows: Mapping[str, tuple[int, ...]], allowed: range, what: str, path: Path
) -> None:
    """Refuse rows that a release has not.

    Raises:
        BenchError: some are not allowed.
    """
    bad = {name: own for name, own in rows.items() if not set(own) <= set(allowed)}
    if bad:
        raise BenchError(
            f"{what} are not those of this release",
            file=path,
            found=", ".join(f"{name}: {', '.join(map(str, own))}" for name, own in bad.items()),
            expected=f"rows from {allowed[0]} to {allowed[-1]}" if allowed else "none",
        )


def require_rows_apart(rows: Mapping[str, tuple[int, ...]], what: str, path: Path) -> None:
    """Refuse a row twice in a class, and two classes of the same rows.

    Raises:
        BenchError: there are such.
    """
    of_rows: dict[frozenset[int], str] = {}
    for name, own in rows.items():
        other = of_rows.setdefault(frozenset(own), name)
        if other != name or len(set(own)) < len(own):
            found = f"{name}: {', '.join(map(str, own))}"
            raise BenchError(
                f"{what} are not those of this release",
                file=path,
                found=f"a row twice, {found}" if other == name else f"{found}, as of {other}",
                expected="other rows for each class",
            )
