"""What a run declares: the configured models and those that were added, on the run's entries.

Whatever else lies in the run's folder is left over: it is named, and shown nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import entry_ids
from evaluation.errors import BenchError
from evaluation.files.card_places import work_on
from evaluation.files.reading import rows_of
from evaluation.models.added import read_added
from evaluation.models.card import find_model
from evaluation.paths import RunPaths


@dataclass(frozen=True)
class Added:
    """Added models of a run.

    Args:
        listed: all that were added, as the run's list has them.
        models: those that take part and that the configuration does not name anyway.
        left_out: those without a usable card, with the reason.
    """

    listed: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def with_added(configured: RunConfig, run: Path) -> tuple[RunConfig, Added]:
    """The effective configuration of a run: the configured models, then the added ones.

    An added model whose card is gone or broken goes on with the copy that the run carries;
    without one it is left out, and the other models go on.

    Raises:
        BenchError: the list of added models is damaged.
    """
    work_on(run)
    listed = read_added(run)
    models: list[str] = []
    left_out = {}
    for name in listed:
        if name in configured.models:
            continue
        try:
            find_model(name)
        except BenchError as error:
            left_out[name] = error.one_line
        else:
            models.append(name)
    effective = configured.model_copy(update={"models": [*configured.models, *models]})
    return effective, Added(tuple(listed), tuple(models), left_out)


def added_lines(added: Added, run: Path) -> list[str]:
    """For the console: which models were added, and which of them cannot take part."""
    lines = []
    if added.models:
        names = ", ".join(added.models)
        lines.append(f"added: {names} (`satbench remove NAME --run {run}` takes one out)")
    lines += [
        f"left out: added model {name}: {why}; put its card right, or take it out with "
        f"`satbench remove {name} --run {run}`"
        for name, why in added.left_out.items()
    ]
    return lines


def leftovers(run: Path, models: Sequence[str], entries: Sequence[str]) -> list[str]:
    """What has predictions or scores in the run's folder and is not declared, a line for each."""
    found: dict[str, set[str]] = {}
    for part in ("predictions", "scores"):
        for folder in sorted((run / part).glob("[!.]*/")):
            if folder.name not in models:
                found.setdefault(f"model {folder.name}", set()).add(part)
                continue
            names = {p.stem if p.is_file() else p.name for p in folder.glob("[!.]*")}
            for name in sorted(names - set(entries)):
                found.setdefault(f"entry {name}", set()).add(part)
    return [
        f"left over, not shown: {what} ({', '.join(sorted(parts))} in {run}); it is neither "
        "configured nor added" + _ways_out(what, run)
        for what, parts in sorted(found.items())
    ]


def _ways_out(what: str, run: Path) -> str:
    kind, _, name = what.partition(" ")
    if kind != "model":
        return ""
    return (
        f" (`satbench add {name} --run {run}` takes it in, `satbench remove {name} --run {run}` "
        "deletes it)"
    )


def leftovers_of(run: Path) -> list[str]:
    """`leftovers` by the run's own effective configuration."""
    config = load_frozen(run)
    return leftovers(run, config.models, entry_ids(config))


def entries_with_data(paths: RunPaths, config: RunConfig) -> list[str]:
    """Declared entries but for those that had no data when the run was planned."""
    missing: set[str] = set()
    if paths.not_run.is_file():
        missing = {row["dataset"] for row in rows_of(paths.not_run, ("dataset", "reason"))}
    return [name for name in entry_ids(config) if name not in missing]


def entries_with_split(paths: RunPaths, config: RunConfig) -> list[str]:
    """Declared entries that have a split in this run."""
    return [name for name in entry_ids(config) if paths.split(name).is_file()]
