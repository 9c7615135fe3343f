"""Measure one shard of a run: predictions and references in, score rows out.

The rows of every case are kept in a journal beside the target: a killed run continues, and a case
is measured again only if one of its masks or a setting changed.

A job measures one model, so that one that is added or fails costs the others nothing; it reads
every reference anew. That is a third of the time of DSC and NSD of a whole-body case (512x512x400,
100 classes: 0.15 of 0.48 CPU seconds), less than a minute of a model's 240 such cases; one job for
all models would wait for the slowest, and measure all again when one is added. `satbench evaluate`
with several predictions reads each reference once (`pipeline.read_once`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from evaluation.cases import read_case_record
from evaluation.config import load_frozen
from evaluation.confusions.shards import judge_shard
from evaluation.datasets.regions import counted_one_by_one
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import cases_to_predict
from evaluation.errors import BenchError
from evaluation.files.identity import SCORES, digest, is_outdated, made_again
from evaluation.metrics.catalogue import find_metrics, versions_of
from evaluation.models.running import PredictionStatus, read_status, read_support
from evaluation.paths import RunPaths
from evaluation.schema import INSTANCES, scores_table, write_table
from evaluation.scoring.comparing import Measuring
from evaluation.scoring.journal import Journal
from evaluation.scoring.pipeline import ModelCases, measure_cases
from evaluation.scoring.run_pairs import RunPairs, pairs_of
from evaluation.studies.record import find_study
from evaluation.volumes.axes import AS_STORED

JOURNAL = ".journal.jsonl"


def measure_shard(run: Path, model: str, dataset: str, shard: int, jobs: int = 1) -> Path:
    """Score the test cases of a shard and write `scores/<model>/<dataset>/shards/<k>.parquet`.

    Rows belong to both masks and the settings they were measured with; others are measured anew.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_card(dataset)
    scope = classes_in_scope(card, config)
    status = {row.case: row for row in read_status(paths.prediction_shard(model, dataset, shard))}
    pairs = RunPairs(
        paths=paths,
        config=config,
        study=find_study(config.study),
        model=model,
        dataset=dataset,
        scope=scope,
        support=read_support(paths, model, dataset, shard, [entry.name for entry in scope]),
        status={case: (row.status, row.reason) for case, row in status.items()},
    )
    measuring = Measuring(
        model,
        dataset,
        config.tolerance_mm,
        config.metrics,
        definition=config.definition,
        instances=counted_one_by_one(card),
    )
    target = paths.score_shard(model, dataset, shard)
    own = target.with_suffix(JOURNAL)
    if own.is_file() and is_outdated(own, target):
        own.unlink()
    # The entry's cases may have had other shards.
    others = sorted(own.parent.glob(f"[0-9]*{JOURNAL}"))
    others = [path for path in others if path != own and not is_outdated(path, target)]
    cases = cases_to_predict(paths, config, card, shard)
    keys = {case: _made_from(pairs, case, status.get(case)) for case in cases}
    with Journal(target, own) as journal:
        journal.recall(set(keys.values()), others)
        asked = ModelCases(keys, partial(pairs_of, pairs), measuring, journal)
        for *_, error in measure_cases([asked], jobs):
            raise error
        done = [
            (found.rows, found.instances)
            for key in keys.values()
            if (found := journal.rows_of(key))
        ]
        rows = [{**row, "model": model} for rows, _ in done for row in rows]
        table = scores_table(config.metrics)
        if any(metric.needs_instances for metric in find_metrics(config.metrics)):
            single = [{**row, "model": model} for _, instances in done for row in instances]
            frame = pd.DataFrame(single, columns=INSTANCES.names)
            write_table(paths.instance_shard(model, dataset, shard), frame, INSTANCES)
        write_table(target, pd.DataFrame(rows, columns=table.names), table)
        journal.keep_only(keys.values())
    judge_shard(paths, config, model, dataset, shard, jobs)
    made_again(target)
    return target


def _made_from(pairs: RunPairs, case: str, status: PredictionStatus | None) -> str:
    """Digest of what a case's rows are made from: masks, classes, spaces, metrics, tolerances.

    The model's id is not among it: one that is renamed keeps its rows.
    """
    try:
        record = read_case_record(pairs.paths.case(pairs.dataset, case))
        reference = [record.labels, record.patient, record.modality, record.grid_axes]
    except BenchError:
        reference = []
    answer = [status.status, status.reason, status.masks] if status else []
    config, study = pairs.config, pairs.study
    # The axis order of the grid is the record's.
    made_in = study.protocol.of_spaces(config.space, pairs.dataset, AS_STORED)
    settings = [
        config.space, config.tolerance_mm, versions_of(config.metrics), config.definition,
        pairs.support,
    ]  # fmt: skip
    return digest(
        SCORES,
        case,
        pairs.dataset,
        settings,
        [study.id, *made_in],
        [entry.model_dump() for entry in pairs.scope],
        reference,
        answer,
    )
