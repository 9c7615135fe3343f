"""Submission folders of any number of models, joined into one run that has rows and no images."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from evaluation.config import RunConfig, freeze
from evaluation.errors import BenchError, printable
from evaluation.files.records import faults_of
from evaluation.files.writing import whole_folder, write_text
from evaluation.paths import RunPaths
from evaluation.schema import scores_table, write_table
from evaluation.scoring.submissions import (
    RECORD,
    SCORE_ROWS,
    Submission,
    read_rows,
    read_submission,
)

ALIKE = ("study", "data_kind", "metrics", "tolerance_mm", "definition", "space", "fold")
MARK = "board.txt"


def join_submissions(places: Sequence[Path], out: Path) -> list[str]:
    """Write `out` as the run of all submissions; its tables are `satbench aggregate`'s business.

    Args:
        places: submission folders, or folders of them.
        out: folder of the joined run, anew each time.

    Returns:
        A line for each submission.

    Raises:
        BenchError: one of them does not fit those before it: each is named, with what differs.
    """
    folders = [f for place in places for f in _folders(place)]
    _require_apart(out, folders)
    found = [(folder, read_submission(folder)) for folder in folders]
    misfits = [line for i in range(len(found)) for line in _misfits(found, i)]
    if misfits := misfits or _other_references(found):
        raise BenchError(
            "these submissions do not fit on one board",
            found="; ".join(misfits),
            expected=f"as {folders[0]} was made",
            hint="take the folders that are named off the board, or have them made again",
        )
    config = _configuration(found, out)
    with whole_folder(out) as folder:
        _write(folder, found, config)
    return [
        printable(f"{s.model}: {s.title} (satbench {s.satbench}), {folder}") for folder, s in found
    ]


def _require_apart(out: Path, folders: Sequence[Path]) -> None:
    """Refuse a place that holds what is no board, or is not apart from the submissions."""
    if out.exists() and not (out / MARK).is_file():
        raise BenchError("there is a run that is no board", file=out, hint="choose another")
    board = out.resolve()
    for folder in folders:
        one = folder.resolve()
        if one.is_relative_to(board) or board.is_relative_to(one):
            raise BenchError(
                "the board and a submission lie in one another: the board is made anew each time",
                file=out, found=folder, expected="a folder apart", hint="move one of them",
            )  # fmt: skip


def _configuration(found: Sequence[tuple[Path, Submission]], out: Path) -> RunConfig:
    """That of the joined run, which is called as its folder is."""
    entries = list(dict.fromkeys(e for _, s in found for e in s.configuration.entries))
    models = [s.model for _, s in found]
    change = {"name": out.resolve().name, "models": models, "entries": entries}
    values = found[0][1].configuration.model_dump() | change
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise BenchError(
            "no run can be made of this", file=out, found=faults_of(RunConfig, error),
            expected="a folder named by lower-case letters, digits, - and _", hint="rename it",
        ) from error  # fmt: skip


def _write(out: Path, found: Sequence[tuple[Path, Submission]], config: RunConfig) -> None:
    paths = RunPaths(out)
    write_text(out / MARK, "\n".join(str(folder) for folder, _ in found) + "\n")
    freeze(config, paths.config)
    for folder, record in found:
        for name in record.files:
            if name.startswith(("cards/", "splits/")):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, out / name)
        write_text(paths.title(record.model), printable(record.title) + "\n")
        table = scores_table(record.configuration.metrics)
        for dataset, rows in read_rows(folder, record).groupby("dataset", observed=True):
            write_table(paths.scores(record.model, str(dataset)), rows, table)
    reasons = {d: why for _, s in found for d, why in s.not_run.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "reason"))
    writer.writerows((d, why) for d, why in reasons.items() if not paths.split(d).is_file())
    write_text(paths.not_run, text.getvalue())


def _folders(place: Path) -> list[Path]:
    if (place / RECORD).is_file():
        return [place]
    found = sorted(p.parent for p in place.glob(f"[!.]*/{RECORD}"))
    if not found:
        raise BenchError("no submission here", file=place, hint="`satbench submit` makes one")
    return found


def _misfits(found: Sequence[tuple[Path, Submission]], number: int) -> list[str]:
    """What of a submission does not fit those before it."""
    folder, record = found[number]
    lines = []
    for other, before in found[:number]:
        if before.model == record.model:
            lines.append(f"{folder}: a second submission of `{record.model}`")
        both = sorted(set(before.files) & set(record.files) - {SCORE_ROWS})
        lines += [
            f"{folder}: another {name} than {other}"
            for name in both
            if before.files[name] != record.files[name]
        ]
        mine, theirs = record.configuration, before.configuration
        lines += [
            f"{folder}: other classes of {entry} than {other}"
            for entry in mine.entries
            if entry in theirs.entries and mine.classes.get(entry) != theirs.classes.get(entry)
        ]
    first = found[0][1]
    if record.measured != first.measured:
        lines.append(f"{folder}: measured by version {record.measured}, not {first.measured}")
    for key in ALIKE:
        one, two = (getattr(s.configuration, key) for s in (record, first))
        if one != two:
            lines.append(f"{folder}: {key} {one}, not {two}")
    return list(dict.fromkeys(lines))


def _other_references(found: Sequence[tuple[Path, Submission]]) -> list[str]:
    """Submissions in which a case and class has another reference than in those before them."""
    keys = ["dataset", "case", "class", "space"]
    known: pd.Series[float] | None = None
    lines = []
    for folder, record in found:
        rows = read_rows(folder, record)
        rows = rows[rows["reference_voxels"] >= 0].astype(dict.fromkeys(keys, str))
        own = rows.groupby(keys)["reference_voxels"].max().astype(float)
        if known is not None:
            both = known.to_frame("known").join(own.to_frame("own"), how="inner")
            other = both.index[both["known"] != both["own"]]
            if len(other):
                cases = ", ".join(" ".join(map(str, key[:3])) for key in other[:3])
                lines.append(f"{folder}: other reference masks ({cases})")
        known = own if known is None else known.combine_first(own)
    return lines
