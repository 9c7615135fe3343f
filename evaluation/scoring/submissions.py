"""One model of a run as a folder for others: scores, card and provenance, no image and no mask."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import model_validator

from evaluation import __version__
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.registry import entry_ids
from evaluation.datasets.splits import read_split_file
from evaluation.errors import BenchError, did_you_mean
from evaluation.files.card_places import shows_run
from evaluation.files.identity import SCORES
from evaluation.files.records import Record, load_record
from evaluation.files.sums import sha256
from evaluation.files.writing import visible, whole_folder, write_json, write_text
from evaluation.models.card import built_in_ids, find_model
from evaluation.models.presets import title_with_preset
from evaluation.paths import RunPaths
from evaluation.runs.provenance import code_version, hardware, package_versions
from evaluation.schema import read_table, scores_table, to_arrow, write_table
from evaluation.tables.run_tables import expected_of
from evaluation.tables.scores import Expected, load_rows, require_possible

RECORD = "submission.json"
SCORE_ROWS = "scores.parquet"
OTHER = "name another folder"
AGAIN = "ask its author to make it again with `satbench submit`"
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

    @model_validator(mode="after")
    def _of_one_model(self) -> Submission:
        """Names become names of files on the board."""
        if self.configuration.models != [self.model]:
            raise ValueError(f"configuration: models are not [{self.model}]")
        if self.configuration.entries == "all":
            raise ValueError("configuration: entries are not named")
        for name in (self.model, *self.configuration.entries):
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
                raise ValueError(f"`{name}` is no id")
        return self


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
    if out.exists() and not out.is_dir():
        raise BenchError("a submission is a folder, and this is none", file=out, hint=OTHER)
    if out.exists() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise BenchError("the folder holds something else", file=out, hint=OTHER)
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
    with whole_folder(out) as folder:
        _write(folder, paths, config, model, expected, rows)
    return out / RECORD


def _write(
    out: Path,
    paths: RunPaths,
    config: RunConfig,
    model: str,
    expected: Expected,
    rows: pd.DataFrame,
) -> None:
    write_table(out / SCORE_ROWS, rows, scores_table(config.metrics))
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
        title=title_with_preset(paths, config, card),
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


def read_submission(folder: Path) -> Submission:
    """The record of a submission folder whose files are as they were written.

    Raises:
        BenchError: there is none, or a file is missing, altered or strange.
    """
    record = load_record(folder / RECORD, Submission)
    found = visible(folder, "**/*")
    if links := [p for p in found if p.is_symlink() or not (p.is_file() or p.is_dir())]:
        raise BenchError(
            "a submission holds a link or a device", file=links[0],
            expected="files and folders", hint=AGAIN,
        )  # fmt: skip
    there = {p.relative_to(folder).as_posix(): p for p in found if p.is_file()}
    there.pop(RECORD)
    for name in sorted({*record.files, *there}):
        if name in there and record.files.get(name) == sha256(there[name]):
            continue
        what = "altered" if name in there else "missing"
        raise BenchError(
            f"a file of the submission is {what if name in record.files else 'not its own'}",
            file=folder / name,
            hint=AGAIN,
        )
    return record


def read_rows(folder: Path, record: Submission) -> pd.DataFrame:
    """The score rows of a submission: of its model and entries, each once, of possible values.

    Raises:
        BenchError: some are not.
    """
    path = folder / SCORE_ROWS
    if SCORE_ROWS not in record.files:
        raise BenchError("the submission has no score rows", file=path, hint=AGAIN)
    table = scores_table(record.configuration.metrics)
    rows = read_table(path, table)
    require_possible(to_arrow(rows, table, path), path, record.configuration.metrics, AGAIN)
    for column, known in (("model", {record.model}), ("dataset", {*record.configuration.entries})):
        if strange := sorted({*rows[column].astype(str)} - known):
            raise BenchError(
                f"score rows of another {column} than the submission's", file=path,
                found=", ".join(strange[:5]), expected=", ".join(sorted(known)), hint=AGAIN,
            )  # fmt: skip
    keys = ["dataset", "case", "class", "kind", "space", "tolerance_mm"]
    if len(twice := rows[rows.duplicated(keys)]):
        raise BenchError(
            "two score rows for the same case and class", file=path,
            found=", ".join(map(str, twice.iloc[0][keys])), hint=AGAIN,
        )  # fmt: skip
    _require_whole(rows, folder, record)
    return rows


def _require_whole(rows: pd.DataFrame, folder: Path, record: Submission) -> None:
    """Refuse rows that leave out a test case, or of one a class: n never shrinks."""
    path = folder / SCORE_ROWS
    found = rows[["dataset", "case"]].drop_duplicates().astype(str)
    cases = {str(dataset): {*part} for dataset, part in found.groupby("dataset")["case"]}
    for dataset in (name for name in record.configuration.entries if name not in record.not_run):
        split = read_split_file(folder / "splits" / f"{dataset}.csv")
        tests = {row.case for row in split if row.split == "test"}
        if lacking := sorted(tests - cases.get(dataset, set())):
            raise BenchError(
                f"the submission leaves out test cases of `{dataset}`", file=path,
                found=f"{len(lacking)} without a score row: {', '.join(lacking[:5])}", hint=AGAIN,
            )  # fmt: skip
    keys = ["dataset", "space", "tolerance_mm", "class", "kind"]
    counts = rows.groupby(keys, observed=True).size()
    most = counts.groupby(["dataset", "space"], observed=True).transform("max")
    if len(few := counts[counts < most]):
        raise BenchError(
            "score rows of some cases are left out", file=path,
            found=f"{few.iloc[0]} of {most[few.index[0]]} cases of "
            + " ".join(map(str, few.index[0])), hint=AGAIN,
        )  # fmt: skip
