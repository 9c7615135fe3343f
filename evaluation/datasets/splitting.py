"""Writes a run's effective split of an entry: planned sides for the cases that are usable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evaluation.config import load_frozen
from evaluation.datasets.draw import Say, silent
from evaluation.datasets.gaps import case_rows, find_gap
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_shards
from evaluation.datasets.splits import EFFECTIVE_COLUMNS, effective_split, split_text
from evaluation.errors import BenchError
from evaluation.files.writing import write_text
from evaluation.paths import RunPaths


def write_split(run: Path, dataset: str, say: Say = silent) -> Path:
    """Write a run's effective split of one entry from what its case shards say.

    Args:
        run: the run folder.
        dataset: dataset id.
        say: called with one sentence for each departure from the plan.

    Returns:
        The file written.

    Raises:
        BenchError: no shard is there, no case of the entry is usable, or with `missing_data:
            error` a planned one is not.
    """
    config, paths, card = load_frozen(run), RunPaths(run), find_card(dataset)
    # By plan: a run that had smaller shards before has more tables than it reads.
    tables = [paths.case_shard(card.id, shard) for shard in range(n_shards(card, config))]
    if missing := [table for table in tables if not table.is_file()]:
        raise BenchError(
            f"{len(missing)} of {len(tables)} shards of `{dataset}` are not standardised",
            file=missing[0],
            hint="run `satbench standardise`; the workflow does so",
        )
    known = case_rows(paths, config, card)
    failed = [(row.case, row.patient or row.case) for row in known if row.status == "failed"]
    if failed:
        where = tables[0].parent
        say(f"{card.id}: {len(failed)} cases could not be standardised; {where} says why")
    usable = {row.case: row for row in known if row.status == "ok"}
    present = [(row.case, row.patient) for row in usable.values()]
    rows = effective_split(card, config, present, say, failed)
    gap = find_gap(card, config, known, {row.case: row.split for row in rows})
    if gap.lacking and config.missing_data == "error":
        raise BenchError(
            f"`{card.id}` lacks cases and missing_data is `error`",
            file=tables[0].parent,
            found=gap.words,
            expected=f"{gap.expected} usable cases",
            hint="repair the files, name them under `exclude` in the card with the reason, or "
            "set `missing_data: skip`",
        )
    if gap.lacking:
        say(f"{card.id}: {gap.words}")
    rows = [
        replace(row, image=usable[row.case].image, labels=usable[row.case].labels) for row in rows
    ]
    write_text(paths.split(card.id), split_text(rows, EFFECTIVE_COLUMNS))
    return paths.split(card.id)
