"""Time standardise beside plain copying of the same raw files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import typer

from evaluation.datasets.card import DatasetCard
from evaluation.datasets.readers import get_reader
from evaluation.datasets.readers.base import RawCase, Reader
from evaluation.datasets.registry import find_card, load_cards
from evaluation.datasets.standardise import standardise_case
from evaluation.datasets.status import is_present, present_entries
from evaluation.errors import BenchError
from evaluation.volumes.headers import companions
from tests.bench.running import Out, run, tell

PHANTOMS = ("acdc", "msd_spleen", "chaos_ct", "totalsegmentator")


@dataclass
class EntryTimes:
    """What one entry took, one number for each round.

    `bytes_copied` are those of its raw files (an image that several cases share counts for each),
    `bytes_written` those of its case folders.
    """

    dataset: str
    n_cases: int
    copy_s: list[float] = field(default_factory=list)
    standardise_s: list[float] = field(default_factory=list)
    bytes_copied: int = 0
    bytes_written: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Medians and ratios, for JSON and for the report."""
        copy, ours = median(self.copy_s), median(self.standardise_s)
        return {
            "dataset": self.dataset,
            "cases": self.n_cases,
            "copy_s": copy,
            "standardise_s": ours,
            "time_ratio": ours / copy,
            "copied_cases_per_minute": 60 * self.n_cases / copy,
            "cases_per_minute": 60 * self.n_cases / ours,
            "bytes_copied": self.bytes_copied,
            "bytes_written": self.bytes_written,
            "bytes_ratio": self.bytes_written / self.bytes_copied,
        }


def run_benchmark(
    raw_root: Path | None,
    datasets: Sequence[str],
    patients: int,
    rounds: int,
    most_cases: int,
    say: Callable[[str], None],
) -> list[EntryTimes]:
    """Standardise and copy the same cases by turns, in one process.

    A round copies all cases of an entry and then standardises them, each into an empty folder.
    One case goes through both before the clock starts, so that files are in the page cache and
    readers are loaded.

    Args:
        raw_root: raw datasets; without it, virtual patients are written first.
        datasets: entries; those without data are named by `say` and left out.
        patients: virtual patients of each entry.
        rounds: repetitions.
        most_cases: cases of an entry that are used at most.
        say: called with one line for each entry that is left out or cannot be read.

    Raises:
        BenchError: no entry has a case that can be standardised.
    """
    with TemporaryDirectory(prefix="satbench-bench-") as name:
        work = Path(name)
        if raw_root is None:
            from evaluation.datasets.phantoms import write_cohort

            raw_root = work / "raw"
            write_cohort(raw_root, datasets, patients, seed=0)
        entries = []
        for card in map(find_card, datasets):
            if not is_present(card, raw_root):
                say(f"{card.id}: no data under {raw_root}")
                continue
            reader = get_reader(card)
            cases = _usable(card, reader, raw_root, most_cases, work, say)
            if cases:
                entries.append((card, reader, cases, EntryTimes(card.id, len(cases))))
        if not entries:
            raise BenchError(
                "no case to measure with",
                file=raw_root,
                hint="`satbench data check --raw-root DIR` says what is wrong",
            )
        for _ in range(rounds):
            for card, reader, cases, times in entries:
                _round(card, reader, cases, times, work)
    return [times for *_, times in entries]


def report_lines(results: Sequence[EntryTimes], rounds: int) -> Iterator[str]:
    """The results as lines of text."""
    from tabulate import tabulate

    yield f"one process, medians of {rounds} interleaved rounds; copy = shutil.copyfile"
    heads = ("entry", "cases", "cases/min", "copied/min", "time x copy")
    sizes = ("MB written", "MB copied", "bytes x copy")
    rows = [
        (
            entry["dataset"],
            entry["cases"],
            f"{entry['cases_per_minute']:.0f}",
            f"{entry['copied_cases_per_minute']:.0f}",
            f"{entry['time_ratio']:.0f}",
            f"{entry['bytes_written'] / 1e6:.1f}",
            f"{entry['bytes_copied'] / 1e6:.1f}",
            f"{entry['bytes_ratio']:.2f}",
        )
        for entry in (times.as_dict() for times in results)
    ]
    yield tabulate(rows, headers=heads + sizes, disable_numparse=True)


def raw_files(raw: RawCase) -> list[Path]:
    """All files of a case that are there, those behind MetaImage headers included."""
    named = [*raw.image, *(file for group in raw.labels.values() for file in group)]
    found = dict.fromkeys(part for file in named for part in companions(file))
    return [file for file in found if file.is_file()]


def _usable(
    card: DatasetCard,
    reader: Reader,
    raw_root: Path,
    most: int,
    work: Path,
    say: Callable[[str], None],
) -> list[RawCase]:
    """Cases without fault, tried until there are enough; trying also warms everything up."""
    usable: list[RawCase] = []
    for raw in reader.discover(raw_root / card.folder):
        if raw.case in card.exclude:
            continue
        try:
            standardise_case(card, reader, raw, card.classes, work / "try" / raw.case)
        except BenchError as error:
            say(f"{card.id} {raw.case}: left out: {error.one_line}")
            continue
        usable.append(raw)
        if len(usable) == most:
            break
    shutil.rmtree(work / "try", ignore_errors=True)
    return usable


def _round(
    card: DatasetCard, reader: Reader, cases: Sequence[RawCase], times: EntryTimes, work: Path
) -> None:
    copies, folders = work / "copies", work / "cases"
    copies.mkdir()
    start = perf_counter()
    for raw in cases:
        for number, file in enumerate(raw_files(raw)):
            shutil.copyfile(file, copies / f"{raw.case}-{number}")
    times.copy_s.append(perf_counter() - start)
    start = perf_counter()
    for raw in cases:
        standardise_case(card, reader, raw, card.classes, folders / raw.case)
    times.standardise_s.append(perf_counter() - start)
    times.bytes_copied, times.bytes_written = _bytes_in(copies), _bytes_in(folders)
    shutil.rmtree(copies)
    shutil.rmtree(folders)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bench_data(
    data: Path | None = typer.Option(
        None, "--data", help="Raw root with real datasets. Default: virtual patients."
    ),
    dataset: list[str] = typer.Option(
        [], "--dataset", help="Only this entry (repeatable). Default: all that have data."
    ),
    patients: int = typer.Option(4, "--patients", min=2, help="Virtual patients of each entry."),
    cases: int = typer.Option(20, "--cases", min=1, help="Cases of an entry at most."),
    rounds: int = typer.Option(3, "--rounds", min=1, help="Interleaved repetitions."),
    out: Path | None = Out,
) -> None:
    """Cases per minute and bytes written by standardise, beside plain copying of the files."""
    chosen = dataset or list(PHANTOMS)
    if data is not None and not dataset:
        there = present_entries(data)
        chosen = [name for name in load_cards() if there[name]]
    results = run_benchmark(
        data, chosen, patients, rounds, cases, lambda line: typer.echo(line, err=True)
    )
    tell(report_lines(results, rounds), [entry.as_dict() for entry in results], out)


if __name__ == "__main__":
    run(bench_data)
