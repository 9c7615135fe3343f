"""Measure one shard: predictions and references in, score rows out.

Cases that are done are kept in a journal, so a killed run continues; `score_rows` has what is
measured of a case.

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

from evaluation.cases import CASE_FILE, PREDICTION_FILE
from evaluation.config import load_frozen
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.files import sha256
from evaluation.models.running import read_support
from evaluation.paths import RunPaths
from evaluation.schema import SCORES, write_table
from evaluation.score_rows import Measuring, Row, measure_case
from evaluation.workflow.plan import cases_to_predict


def measure_shard(run: Path, model: str, dataset: str, shard: int, jobs: int = 1) -> Path:
    """Score the test cases of a shard and write `scores/<model>/<dataset>/shards/<k>.parquet`.

    Rows of finished cases are kept in a journal beside the target, so a killed run continues;
    a case is measured again if its prediction or its reference changed.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_card(dataset)
    measuring = Measuring(
        paths=paths,
        config=config,
        model=model,
        dataset=dataset,
        scope=classes_in_scope(card, config),
        support=read_support(paths, model, dataset, shard),
        status=_read_status(paths.prediction_shard(model, dataset, shard)),
    )
    target = paths.score_shard(model, dataset, shard)
    target.parent.mkdir(parents=True, exist_ok=True)
    journal = target.with_suffix(".journal.jsonl")
    done = _read_journal(journal)
    cases = cases_to_predict(paths, config, card, shard)
    keys = {case: _fingerprint(measuring, case) for case in cases}
    todo = [case for case in cases if keys[case] not in done]

    def work(case: str) -> tuple[str, list[Row]]:
        return case, list(measure_case(measuring, case))

    with ThreadPoolExecutor(jobs) as pool, journal.open("a", encoding="utf-8") as stream:
        answers = pool.map(work, todo)
        title = f"measure {model} on {dataset}"
        for case, rows in tqdm(answers, total=len(todo), desc=title, unit="case", disable=None):
            stream.write(json.dumps({"key": keys[case], "rows": rows}) + "\n")
            stream.flush()
            done[keys[case]] = rows
    rows = [row for case in cases for row in done[keys[case]]]
    write_table(target, pd.DataFrame(rows, columns=SCORES.names), SCORES)
    journal.unlink()
    return target


def _read_status(path: Path) -> dict[str, tuple[str, str]]:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {
        case: (status, reason)
        for case, status, reason in zip(
            frame["case"], frame["status"], frame["reason"], strict=True
        )
    }


def _fingerprint(m: Measuring, case: str) -> str:
    """Names the inputs and settings of a case's rows."""
    parts = [
        case,
        str(m.status.get(case)),
        m.config.model_dump_json(include={"space", "tolerance_mm"}),
    ]
    files = (
        m.paths.case(m.dataset, case) / CASE_FILE,
        m.paths.prediction(m.model, m.dataset, case) / PREDICTION_FILE,
    )
    parts += [f"{sha256(f)}-{f.stat().st_mtime_ns}" if f.is_file() else "none" for f in files]
    return "|".join(parts)


def _read_journal(path: Path) -> dict[str, list[Row]]:
    done: dict[str, list[Row]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                # A kill in the middle of a line; that case is measured again.
                continue
            done[entry["key"]] = entry["rows"]
    return done
