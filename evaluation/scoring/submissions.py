"""One model of a run as a folder for others: scores, card and provenance, no image and no mask."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from evaluation import __version__
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import entry_ids
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import shows_run
from evaluation.files.identity import SCORES
from evaluation.files.records import Record, load_record
from evaluation.files.sums import sha256
from evaluation.files.writing import visible, write_json, write_text
from evaluation.models.card import built_in_ids, find_model
from evaluation.paths import RunPaths
from evaluation.runs.provenance import code_version, hardware, package_versions
from evaluation.schema import scores_table, write_table
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import load_rows

RECORD = "submission.json"
SCORE_ROWS = "scores.parquet"
NO_PATH = "not-told"
"""In place of the raw data's folder, which is its owner's business."""


class Submission(Record):
    """What a folder of one model's scores says of itself."""

    model: str
    title: str
    satbench: str
    measured: int
    """Version of what a score row means; rows of two versions do not stand side by side."""
    configuration: RunConfig
    not_run: dict[str, str]
    provenance: dict[str, Any]
    files: dict[str, str]
    """SHA-256 of every other file, by its path in the folder."""


@shows_run
def submit(run: Path, model: str, out: Path) -> Path:
    """Write the submission folder of a model of a run, anew each time; returns its record.

    Raises:
        BenchError: the run has no such model, it was not measured on every test case, or `out`
            holds something else.
    """
    paths, config = RunPaths(run), load_frozen(run)
    if model not in config.models:
        raise BenchError(
            f"no model `{model}` in this run", file=run, hint=did_you_mean(model, config.models)
        )
    if out.exists() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise BenchError("the folder holds something else", file=out, hint="name another folder")
    expected, _ = expected_of(run, config)
    table = scores_table(config.metrics)
    rows = load_rows(paths, replace(expected, models=(model,)), table.names)
    for dataset in expected.splits:
        cases = set(rows.loc[rows["dataset"] == dataset, "case"])
        if lacking := sorted(set(expected.test_cases(dataset)) - cases):
            raise BenchError(
                f"`{model}` was not measured on every test case of `{dataset}`",
                found=f"{len(lacking)} without a score row: {', '.join(lacking[:5])}",
                hint="run it to its end first",
            )
    if out.exists():
        shutil.rmtree(out)
    write_table(out / SCORE_ROWS, rows, table)
    for dataset in expected.splits:
        (out / "splits").mkdir(exist_ok=True)
        shutil.copyfile(paths.split(dataset), out / "splits" / f"{dataset}.csv")
    for kind in ("datasets", "studies"):
        if (paths.cards / kind).is_dir():
            shutil.copytree(paths.cards / kind, out / "cards" / kind)
    card, carried = find_model(model), paths.cards / "models" / f"{model}.yaml"
    if carried.is_file():
        (out / "cards" / "models").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(carried, out / "cards" / "models" / carried.name)
    elif model not in built_in_ids():
        text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_text(out / "cards" / "models" / f"{model}.yaml", text)
    alone = {
        "models": [model],
        "entries": entry_ids(config),
        "presets": {},
        "variants": {},
        "stages": {},
        "raw_root": NO_PATH,
    }
    files = [path for path in visible(out, "**/*") if path.is_file()]
    record = Submission(
        model=model,
        title=card.title,
        satbench=__version__,
        measured=SCORES,
        configuration=config.model_copy(update=alone),
        not_run=dict(expected.not_run),
        provenance={
            "code": code_version(),
            "packages": package_versions(),
            "hardware": hardware(),
            "preset": config.presets.get(model, ""),
        },
        files={path.relative_to(out).as_posix(): sha256(path) for path in files},
    )
    write_json(out / RECORD, record.model_dump(mode="json"))
    return out / RECORD


def read_submission(folder: Path) -> Submission:
    """The record of a submission folder whose files are as they were written.

    Raises:
        BenchError: there is none, or a file is missing, altered or strange.
    """
    record = load_record(folder / RECORD, Submission)
    there = {p.relative_to(folder).as_posix(): p for p in visible(folder, "**/*") if p.is_file()}
    there.pop(RECORD)
    for name in sorted({*record.files, *there}):
        if name in there and record.files.get(name) == sha256(there[name]):
            continue
        what = "altered" if name in there else "missing"
        raise BenchError(
            f"a file of the submission is {what if name in record.files else 'not its own'}",
            file=folder / name,
            hint="ask its author to make it again with `satbench submit`",
        )
    return record
