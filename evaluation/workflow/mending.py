"""Before a run is planned: what was lost, cut or altered since it was written is made again.

Snakemake sees whether the files that it watches are there, not what is in them, and of a case or
a prediction it watches the table of its shard alone. So a damaged file is deleted, and with it
whatever says that the work it belongs to is done; the jobs then keep what is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evaluation.cases import CASE_FILE, PREDICTION_FILE
from evaluation.datasets.phantoms import COHORT_FILE
from evaluation.datasets.standardise import SOURCES_FILE
from evaluation.errors import BenchError
from evaluation.files.damage import Damage, find_damage
from evaluation.files.sums import FOLDER, discard
from evaluation.spent import SPENT_FILE
from evaluation.workflow.lock import RunLock

_SHOWN = 10
# Watched by Snakemake, which makes them again by itself; and what is written at every start.
_WATCHED = ("checkpoint.pt", "model.json", "prepared.json", "index.json", "run.json", "notes.json")
_PLANNED = ("scores", "splits", "tables", "settings", "config.json", "not_run.csv")


def mend(root: Path, report: Path) -> list[str]:
    """Delete what is damaged in a run and its report, and say so in a few lines.

    Args:
        root: run folder; nothing else may work on it, or nothing is done.
        report: its rendered report.

    Raises:
        BenchError: what is damaged was written by hand or by `add`, so that nothing can make it
            again.
    """
    if not any((folder / FOLDER).is_dir() for folder in (root, report)):
        return []
    lock = RunLock(root)
    try:
        lock.acquire()
    except BenchError:
        return []  # said when the work starts
    try:
        lines = []
        for folder in (root, report):
            for damage in _unwanted(folder):
                if folder == root and _is_only_copy(damage):
                    raise _put_aside(root / damage.file)
                if _make_way(folder, damage) or not _is_watched(damage):
                    lines.append(f"  {folder}/{damage}; what hangs on it is made again")
    finally:
        lock.release()
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"  and {more} more files"] if more > 0 else [])


def require_whole(root: Path) -> None:
    """Refuse to go on with a damaged run.

    Raises:
        BenchError: names the files.
    """
    found = _unwanted(root)
    if made_way := [d for d in found if _make_way(root, d) or not _is_watched(d)]:
        raise BenchError(
            f"{len(made_way)} files of this run were damaged since they were written",
            file=root,
            found=", ".join(map(str, made_way[:_SHOWN])),
            hint="run snakemake on it, which makes them again, then give the same command",
        )


def _unwanted(root: Path) -> list[Damage]:
    """What is damaged, but for prepared training data that somebody let go as a whole.

    A store may go when the trainings are done: who needs it makes it again.
    """
    stores = root / "prepared"
    return [
        damage
        for damage in find_damage(root)
        if damage.file.parts[0] != "prepared" or (stores / damage.file.parts[1]).is_dir()
    ]


def _is_only_copy(damage: Damage) -> bool:
    """Whether nothing knows what a file said: the added models, a card that is gone elsewhere."""
    parts = damage.file.parts
    card = parts[0] == "cards" and not Path("config", *parts[1:]).is_file()
    return not damage.lost and (card or parts == ("added.json",))


def _put_aside(file: Path) -> BenchError:
    aside = file.with_name(f".damaged-{file.name}")
    file.replace(aside)
    card = "its card once more into config/ and add the model again"
    return BenchError(
        "a file of this run was damaged since it was written, and nothing can make it again",
        file=aside,
        hint="look into it; put "
        + (card if file.suffix != ".json" else "the models in again with `satbench add`")
        + "; what they predicted is kept",
    )


def _is_watched(damage: Damage) -> bool:
    """Whether a lost file is made again, or made new, without a word."""
    file = damage.file
    named = file.name in _WATCHED or file.parts[0] in _PLANNED or file.parent.name == "shards"
    return damage.lost and named and not file.name.endswith(SPENT_FILE)


def _make_way(root: Path, damage: Damage) -> bool:
    """Delete a damaged file and what says that the work around it is done; whether any did."""
    discard(root / damage.file)
    there = [file for file in _says_done(root, damage.file) if file.is_file()]
    for file in there:
        discard(file)
    return bool(there)


def _says_done(root: Path, file: Path) -> Iterator[Path]:
    """What says that the work is done to which a file belongs: records, and watched tables."""
    here = root / file.parent
    if file.name in (SPENT_FILE, SOURCES_FILE) or file.suffix == ".log":
        return
    match file.parts:
        case ("raw", *_):
            yield root / "raw" / COHORT_FILE
        case ("cases" | "predictions", *_, "shards", name):
            if name.endswith(".support.json"):
                yield from here.glob("[0-9]*.csv")
        case ("predictions", _, _, "status.csv"):
            yield root / "run.json"
        case ("cases" | "predictions", *_):
            yield from (here / name for name in (CASE_FILE, PREDICTION_FILE))
            yield from here.parent.glob("shards/[0-9]*.csv")
        case ("prepared", grid, _, _, _):
            yield from (here / "record.json", root / "prepared" / grid / "index.json")
        case ("runs", model, unit, part, _, *_):
            # The folder's own record may be what is lost.
            whole = root / "runs" / model / unit / part / "satbench.json"
            yield from (whole, *(whole.parents[1] / name for name in _WATCHED[1:3]))
        case ("runs", *_):
            return
        case ("collection", *_):
            yield root / "collection" / "entries.csv"
        case ("tables", _):
            yield here / "overall.parquet"
        case (_, *_):
            yield root / "report.json"  # of a report's folder; a run's root has none
