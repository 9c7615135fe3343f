"""Judge the masks of one shard: what became of each sided structure and row, case by case.

A case is judged again only if one of its masks or the classes changed, also when the job is killed
on the way. Entries without any such structures are not read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

from evaluation.cases import read_case_record, read_prediction, read_reference
from evaluation.config import RunConfig
from evaluation.confusions.judging import Judgement, judge
from evaluation.confusions.names import confusable
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import cases_to_predict
from evaluation.errors import BenchError
from evaluation.files.identity import CONFUSIONS, digest, is_outdated
from evaluation.files.lines import open_lines, sealed, whole_lines
from evaluation.files.reading import rows_of
from evaluation.files.writing import atomic_path, visible, write_text
from evaluation.models.running import PredictionStatus, read_status, read_support
from evaluation.paths import RunPaths

COLUMNS = ("case", "what", "group", "class", "outcome", "found_in")
JOURNAL = ".confusions.jsonl"


@dataclass(frozen=True)
class _Judging:
    """What all cases of a shard have in common."""

    paths: RunPaths
    model: str
    dataset: str
    names: list[str]
    status: Mapping[str, PredictionStatus]


def judge_shard(
    paths: RunPaths, config: RunConfig, model: str, dataset: str, shard: int, jobs: int = 1
) -> Path:
    """Judge the test cases of a shard; writes `scores/<model>/<dataset>/shards/<k>.confusions.csv`.

    Judgements belong to both masks and the classes; others are made anew.

    Args:
        paths: the run.
        config: its configuration.
        model: whose predictions.
        dataset: entry.
        shard: of its test cases.
        jobs: cases at once.
    """
    card = find_card(dataset)
    scope = [c.name for c in classes_in_scope(card, config)]
    support = read_support(paths, model, dataset, shard, scope)
    names = confusable([name for name in scope if support[name] is None])
    rows = read_status(paths.prediction_shard(model, dataset, shard))
    judging = _Judging(paths, model, dataset, names, {row.case: row for row in rows})
    cases = cases_to_predict(paths, config, card, shard) if names else []
    made_from = {case: _made_from(judging, case) for case in cases}
    target = paths.judged_shard(model, dataset, shard)
    done = _judge_all(judging, made_from, paths.score_shard(model, dataset, shard), jobs)
    write_judged(target, [(case, found) for case in cases for found in done[made_from[case]]])
    return target


def write_judged(path: Path, rows: Sequence[tuple[str, Judgement]]) -> None:
    """Write case and judgement of each row of a shard."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((case, *astuple(judgement)) for case, judgement in rows)


def read_judged(path: Path) -> list[tuple[str, Judgement]]:
    """Case and judgement of each row of a shard."""
    rows = [tuple(row.values()) for row in rows_of(path, COLUMNS)]
    return [(case, Judgement(*values)) for case, *values in rows]


def _judge_all(
    j: _Judging, made_from: Mapping[str, str], scores: Path, jobs: int
) -> dict[str, list[Judgement]]:
    """Judgements by digest, those of each case; a journal keeps them over a kill."""
    if not made_from:
        return {}
    journal = scores.with_suffix(JOURNAL)
    journal.parent.mkdir(parents=True, exist_ok=True)
    # The cases of this shard may have been in others.
    kept = [p for p in visible(journal.parent, f"[0-9]*{JOURNAL}") if not is_outdated(p, scores)]
    if journal not in kept:
        journal.unlink(missing_ok=True)
    done = {key: judged for path in kept for key, judged in _known(path)}
    todo = [case for case, key in made_from.items() if key not in done]
    with ThreadPoolExecutor(jobs) as pool, open_lines(journal) as stream:
        for case, judged in zip(todo, pool.map(partial(_judge, j), todo), strict=True):
            done[made_from[case]] = judged
            stream.write(_line(made_from[case], judged))
            stream.flush()
    lines = "".join(_line(key, done[key]) for key in made_from.values())
    write_text(journal, lines, noted=False)
    return done


def _judge(j: _Judging, case: str) -> list[Judgement]:
    reference = read_reference(j.paths.case(j.dataset, case))[1]
    prediction = None
    if case in j.status and j.status[case].status == "ok":
        prediction = read_prediction(j.paths.prediction(j.model, j.dataset, case))[1]
    return judge(reference, prediction, j.names)


def _made_from(j: _Judging, case: str) -> str:
    """Digest of both masks and the classes; one model renamed keeps its judgements."""
    try:
        labels = read_case_record(j.paths.case(j.dataset, case)).labels
    except BenchError:
        labels = ""
    row = j.status.get(case)
    return digest(CONFUSIONS, case, j.names, labels, [row.status, row.masks] if row else [])


def _line(key: str, judged: list[Judgement]) -> str:
    return sealed({"made_from": key, "rows": [astuple(row) for row in judged]})


def _known(journal: Path) -> Iterator[tuple[str, list[Judgement]]]:
    for entry in whole_lines(journal):
        yield entry["made_from"], [Judgement(*values) for values in entry["rows"]]
