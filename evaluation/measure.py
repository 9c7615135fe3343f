"""Measure one shard: predictions and references in, score rows out.

The rows of every case are kept in a journal beside the target: a killed run continues, and a case
is measured again only if one of its masks or a setting changed. `score_rows` has what is measured
of a case.

A reference is read once for each model. Reading it is 0.2 of the 0.7 CPU seconds of a whole-body
case (512x512x400, 100 classes): one job for all models would save less than a minute of a model's
240 such cases; but it would wait for the slowest, and measure all again when one is added.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from evaluation.cases import read_case_record
from evaluation.config import load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import cases_to_predict
from evaluation.errors import BenchError
from evaluation.files.identity import SCORES, digest, is_outdated, made_again
from evaluation.files.writing import write_text
from evaluation.models.running import CaseStatus, read_status, read_support
from evaluation.paths import RunPaths
from evaluation.schema import SCORES as SCORE_ROWS
from evaluation.schema import write_table
from evaluation.score_rows import Measuring, Row, measure_case
from evaluation.studies.record import find_study

JOURNAL = ".journal.jsonl"


def measure_shard(run: Path, model: str, dataset: str, shard: int, jobs: int = 1) -> Path:
    """Score the test cases of a shard and write `scores/<model>/<dataset>/shards/<k>.parquet`.

    Rows belong to both masks and the settings they were measured with; others are measured anew.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_card(dataset)
    status = {row.case: row for row in read_status(paths.prediction_shard(model, dataset, shard))}
    measuring = Measuring(
        paths=paths,
        config=config,
        study=find_study(config.study),
        model=model,
        dataset=dataset,
        scope=classes_in_scope(card, config),
        support=read_support(paths, model, dataset, shard),
        status={case: (row.status, row.reason) for case, row in status.items()},
    )
    target = paths.score_shard(model, dataset, shard)
    target.parent.mkdir(parents=True, exist_ok=True)
    journal = target.with_suffix(JOURNAL)
    cases = cases_to_predict(paths, config, card, shard)
    made_from = {case: _made_from(measuring, case, status.get(case)) for case in cases}
    done = _known_rows(journal, target, set(made_from.values()))
    todo = [case for case in cases if made_from[case] not in done]

    def work(case: str) -> tuple[str, list[Row]]:
        return case, list(measure_case(measuring, case))

    with ThreadPoolExecutor(jobs) as pool, journal.open("a", encoding="utf-8") as stream:
        answers = pool.map(work, todo)
        title = f"measure {model} on {dataset}"
        for case, rows in tqdm(answers, total=len(todo), desc=title, unit="case", disable=None):
            stream.write(_line(made_from[case], rows))
            stream.flush()
            done[made_from[case]] = rows
    rows = [{**row, "model": model} for case in cases for row in done[made_from[case]]]
    write_table(target, pd.DataFrame(rows, columns=SCORE_ROWS.names), SCORE_ROWS)
    write_text(journal, "".join(_line(key, done[key]) for key in made_from.values()))
    made_again(target)
    return target


def _made_from(m: Measuring, case: str, status: CaseStatus | None) -> str:
    """Digest of what a case's rows are made from: both masks, classes, spaces, tolerances.

    The model's id is not among it: one that is renamed keeps its rows.
    """
    try:
        record = read_case_record(m.paths.case(m.dataset, case))
        reference = [record.labels, record.patient, record.modality]
    except BenchError:
        reference = []
    answer = [status.status, status.reason, status.masks] if status else []
    grid = m.study.protocol.spacing_mm if "resampled" in m.config.space else None
    settings = [m.dataset, m.config.space, m.config.tolerance_mm, m.support, m.study.id, grid]
    return digest(
        SCORES, case, settings, [entry.model_dump() for entry in m.scope], reference, answer
    )


def _line(key: str, rows: list[Row]) -> str:
    return json.dumps({"made_from": key, "rows": rows}) + "\n"


def _known_rows(own: Path, target: Path, wanted: set[str]) -> dict[str, list[Row]]:
    """Rows by digest from the journals of this entry: its cases may have had other shards."""
    if own.is_file() and is_outdated(own, target):
        own.unlink()
    done: dict[str, list[Row]] = {}
    for path in sorted(own.parent.glob(f"[0-9]*{JOURNAL}")):
        if is_outdated(path, target):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                # A kill in the middle of a line; that case is measured again.
                continue
            if entry.get("made_from") in wanted:
                done[entry["made_from"]] = entry["rows"]
    return done
