"""Runs of one configuration that differ in their fold alone, joined into one run of all patients.

An entry that leaves one patient out has a run for each. Their score rows lie side by side in the
joined run, so that every patient is scored once, by a network that never saw that patient. Entries
that leave nobody out are the same in every fold and count once, in the first of them.

The joined run has no images: its tables and report are made from rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from evaluation.config import RunConfig, freeze, load_frozen
from evaluation.confusions.shards import read_judged, write_judged
from evaluation.datasets.registry import entry_ids, find_card
from evaluation.datasets.sharding import n_test_shards, read_split
from evaluation.datasets.splits import EFFECTIVE_COLUMNS, SplitRow, split_rule, split_text
from evaluation.errors import BenchError
from evaluation.files.writing import write_text
from evaluation.paths import RunPaths
from evaluation.schema import read_table, scores_table, write_table
from evaluation.studies.record import find_study


def join_folds(runs: Sequence[Path], out: Path) -> list[str]:
    """Write `out` as the run of all folds; its tables are `satbench aggregate`'s business.

    Args:
        runs: run folders, measured to the end.
        out: folder of the joined run, anew each time.

    Returns:
        A line for each entry: cases and patients that are tested.

    Raises:
        BenchError: the runs differ in more than fold and name, an entry that leaves nobody out is
            divided in two ways, or rows are missing.
    """
    configs = [load_frozen(run) for run in runs]
    _refuse_other_configurations(runs, configs)
    _refuse_a_run_of_its_own(out)
    config = configs[0].model_copy(update={"name": out.name, "fold": 1})
    paths = RunPaths(out)
    said = []
    tested = {dataset: _tested_in(runs, dataset) for dataset in entry_ids(config)}
    freeze(config, paths.config)
    if RunPaths(runs[0]).cards.is_dir():
        shutil.copytree(RunPaths(runs[0]).cards, paths.cards, dirs_exist_ok=True)
    for dataset, fold_of in tested.items():
        rows = [
            replace(row, split="test" if row.case in fold_of else "train")
            for row in read_split(RunPaths(runs[0]), dataset)
        ]
        write_text(paths.split(dataset), split_text(rows, EFFECTIVE_COLUMNS))
        for model in config.models:
            _join_rows(runs, config, model, dataset, fold_of, paths)
        patients = {row.patient for row in rows if row.split == "test"}
        said.append(f"{dataset}: {len(fold_of)} cases of {len(patients)} patients tested")
    return said


def _refuse_other_configurations(runs: Sequence[Path], configs: Sequence[RunConfig]) -> None:
    same = [c.model_dump(mode="json", exclude={"name", "fold", "stages"}) for c in configs]
    for run, found in zip(runs, same, strict=True):
        if found != same[0]:
            names = [key for key, value in found.items() if value != same[0][key]]
            raise BenchError(
                "these runs are no folds of one configuration",
                file=run,
                found="another " + ", ".join(names),
                expected=f"the configuration of {runs[0]}, but for `name` and `fold`",
            )
    folds = [config.fold for config in configs]
    if len(set(folds)) < len(folds):
        raise BenchError("two of these runs are the same fold", found=folds)


def _refuse_a_run_of_its_own(out: Path) -> None:
    """A joined run has no cases; anything else with that name was made by the workflow."""
    if (out / "cases").exists():
        raise BenchError(
            "there is a run of that name with cases of its own",
            file=out,
            hint="choose another folder for the joined run",
        )


def _tested_in(runs: Sequence[Path], dataset: str) -> dict[str, Path]:
    """Case -> the first of the runs in which it is tested."""
    leaves_out = _leaves_out(runs[0], dataset)
    tested: dict[str, Path] = {}
    first: list[SplitRow] = []
    for run in runs:
        rows = read_split(RunPaths(run), dataset)
        if not leaves_out and first and rows != first:
            raise BenchError(
                f"`{dataset}` leaves no patient out, and these runs divide it in two ways",
                file=RunPaths(run).split(dataset),
                expected=f"the split of {runs[0]}",
            )
        first = first or rows
        for row in rows:
            if row.split == "test":
                tested.setdefault(row.case, run)
    return tested


def _leaves_out(run: Path, dataset: str) -> bool:
    study = find_study(load_frozen(run).study)
    return split_rule(find_card(dataset), study).rule == "leave-one-out"


def _join_rows(
    runs: Sequence[Path],
    config: RunConfig,
    model: str,
    dataset: str,
    fold_of: dict[str, Path],
    paths: RunPaths,
) -> None:
    """Score rows and judged sides of a model on an entry, each case from its own fold."""
    table = scores_table(config.metrics)
    shards = range(n_test_shards(find_card(dataset), config))
    scores, judged = [], []
    for run in runs:
        own = [case for case, found in fold_of.items() if found == run]
        for shard in shards:
            there = RunPaths(run)
            rows = read_table(there.score_shard(model, dataset, shard), table)
            scores.append(rows[rows["case"].isin(own)])
            sides = read_judged(there.judged_shard(model, dataset, shard))
            judged += [row for row in sides if row[0] in own]
    whole = pd.concat(scores, ignore_index=True)
    if lacking := sorted(set(fold_of) - set(whole["case"])):
        raise BenchError(
            f"score rows of `{model}` on `{dataset}` are missing",
            found=", ".join(lacking[:5]),
            hint="run the folds to their end first",
        )
    tests = [row.case for row in read_split(paths, dataset) if row.split == "test"]
    for shard in shards:
        cases = tests[shard :: len(shards)]
        part = whole[whole["case"].isin(cases)]
        write_table(paths.score_shard(model, dataset, shard), part, table)
        kept = [row for row in judged if row[0] in cases]
        write_judged(paths.judged_shard(model, dataset, shard), kept)
