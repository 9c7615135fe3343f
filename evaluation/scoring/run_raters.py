"""The table `raters` of a run: how raters agree on its test cases, where cards name raters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import find_card
from evaluation.errors import BenchError
from evaluation.metrics.catalogue import asked_metrics, find_metrics
from evaluation.paths import RunPaths
from evaluation.schema import RATERS, write_table
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.rater_inputs import card_inputs
from evaluation.scoring.raters import Agreement, score_raters
from evaluation.tables.quantities import means_with_intervals
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import Expected
from evaluation.tables.views import Links

ALL_CLASSES = "*"
"""In the column `class`: the mean over the classes of an entry."""


def raters_of_run(run: Path, jobs: int = 1) -> list[str]:
    """Score raters against each other on a run's test cases and write the table `raters`.

    Their masks are read where they lie under `raw_root`, on their own grid, by the metrics,
    tolerances and definition of the run.

    Args:
        run: run folder with splits.
        jobs: cases at once.

    Returns:
        Lines for the log.

    Raises:
        BenchError: no card of the run's entries names raters, or their masks are not there.
    """
    config, paths = load_frozen(run), RunPaths(run)
    expected, links = expected_of(run, config)
    entries = [name for name in expected.entries if find_card(name).raters is not None]
    if not entries:
        raise BenchError(
            "no entry of this run has several raters",
            found=", ".join(expected.entries),
            expected="`raters:` in an entry's card, which says where their masks lie",
        )
    frames, lines = [RATERS.empty()], []
    for dataset in entries:
        patients = expected.test_cases(dataset)
        if not patients:
            lines.append(f"{dataset}: no test cases")
            continue
        inputs = card_inputs(find_card(dataset), Path(config.raw_root), patients)
        ids, tolerances = asked_metrics(config.metrics, config.tolerance_mm)
        settings = Settings(
            labels={},
            answered=frozenset(),
            tolerances_mm=tolerances,
            metrics=ids,
            definition=config.definition,
            dataset=dataset,
            modality=inputs.modality,
        )
        found = score_raters(inputs.raters, inputs.where, settings, inputs.named, jobs=jobs)
        rows = list(_rows(found, config, expected, links, dataset))
        frames.append(pd.DataFrame(rows, columns=RATERS.names))
        cases = found.human["case"].nunique()
        lines.append(f"{dataset}: raters of {cases} of {len(patients)} test cases")
        lines += [f"{dataset}: not counted: {what}" for what in found.lacking]
    table = pd.concat(frames[1:] or frames, ignore_index=True)
    write_table(paths.table(RATERS.name), table, RATERS)
    return [*lines, str(paths.table(RATERS.name))]


def _rows(
    found: Agreement, config: RunConfig, expected: Expected, links: Links, dataset: str
) -> Iterator[dict[str, Any]]:
    """One row for each class, metric and tolerance, and one for the mean over classes."""
    patients, in_scope = expected.test_cases(dataset), expected.classes[dataset]
    human = found.human[found.human["class"].isin(list(in_scope))]
    human = human.assign(
        classes=human["class"], person=[links.name(dataset, patients[c]) for c in human["case"]]
    )
    apart = dict(zip(found.tolerances["class"], found.tolerances["tolerance_mm"], strict=True))
    names = [name for name in in_scope if name in set(human["class"])]
    for metric in find_metrics(asked_metrics(config.metrics)[0]):
        ends = {metric.id: (metric.low, metric.high)}
        tolerances = human["tolerance_mm"].unique().tolist()
        for tolerance in tolerances if metric.has_tolerance else tolerances[:1]:
            at = human[human["tolerance_mm"] == tolerance]
            for name in (*names, ALL_CLASSES):
                own = at if name == ALL_CLASSES else at[at["class"] == name]
                counted = own[own[metric.id].notna()]
                if counted.empty:
                    continue
                pairs = found.pairs[found.pairs["case"].isin(counted["case"])]
                raters = {n for pair in pairs["model"].unique() for n in pair.split(" ~ ")}
                value, low, high = means_with_intervals(counted, ends)[metric.id]
                yield {
                    "data_kind": config.data_kind,
                    "dataset": dataset,
                    "class": name,
                    "metric": metric.id,
                    "tolerance_mm": tolerance if metric.has_tolerance else float("nan"),
                    "value": value,
                    "value_low": low,
                    "value_high": high,
                    "n_cases": counted["case"].nunique(),
                    "n_patients": counted["person"].nunique(),
                    "n_raters": len(raters),
                    "n_pairs": len(pairs.drop_duplicates(["model", "case"])),
                    "apart_mm": apart.get(name, float("nan")),
                }
