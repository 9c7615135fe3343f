"""Score files of other tools as rows of the project's score table.

What a file does not say is unknown in the rows (-1 voxels, NaN areas), never guessed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from evaluation.errors import BenchError, did_you_mean
from evaluation.files.reading import json_of, text_of
from evaluation.metrics import ClassScore
from evaluation.metrics.catalogue import find_metric
from evaluation.metrics.metric import Metric
from evaluation.protocol import DEFAULT_METRICS, Status
from evaluation.schema import scores_table
from evaluation.scoring.inputs import readable
from evaluation.scoring.labels import read_labels_file
from evaluation.scoring.rows import Row, score_row
from evaluation.volumes.image_files import stem_of

DEFAULT_TOLERANCE_MM = 1.0
_ROUNDED = 1e-3
"""By how much a Dice may differ from what its own voxel counts say."""
_MOST_VOXELS = 2**53
_BLANK = frozenset(["", "NA", "N/A", "NaN", "nan", "na", "null", "NULL", "None"])


def import_nnunet_summary(
    path: Path, model: str, dataset: str, labels_file: Path | None = None
) -> pd.DataFrame:
    """nnU-Net's `summary.json`: DSC and voxel counts of every case and class; it has no NSD.

    The rows carry the benchmark's usual tolerance of 1 mm, at which their NSD is NaN.

    Args:
        path: the file.
        model: name for the column `model`.
        dataset: name for the column `dataset`.
        labels_file: names the classes by their values (YAML or `dataset.json`); a class without
            a name is called by its value.

    Raises:
        BenchError: not such a file.
    """
    names: dict[tuple[int, ...], str] = {}
    if labels_file is not None:
        labels = read_labels_file(labels_file)
        names = {tuple(sorted(label.values)): name for name, label in labels.items()}
    content = json_of(path)
    try:
        entries = content["metric_per_case"]
        cases = _case_names([e.get("reference_file") or e["prediction_file"] for e in entries])
        rows = [
            _nnunet_row(model, dataset, case, str(key), metrics, names)
            for case, entry in zip(cases, entries, strict=True)
            for key, metrics in entry["metrics"].items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(
            "not a summary.json of nnU-Net version 2",
            file=path,
            found=f"{type(error).__name__}: {error}"[:300],
            expected="metric_per_case: [{metrics: {1: {Dice, TP, n_pred, n_ref}}, ...}]",
        ) from error
    return _frame(rows, path)


def _case_names(files: Sequence[str]) -> list[str]:
    r"""Cases by their files' names; by their folders' where these name all files alike.

    Paths may be of another system (`C:\data\case_1.nii.gz`).
    """
    paths = [PureWindowsPath(file) for file in files]
    stems = [stem_of(Path(path.name)) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    folders = [path.parent.name for path in paths]
    if len(set(folders)) == len(folders):
        return folders
    return [f"{folder}/{stem}" for folder, stem in zip(folders, stems, strict=True)]


def _nnunet_row(
    model: str,
    dataset: str,
    case: str,
    key: str,
    metrics: Mapping[str, Any],
    names: Mapping[tuple[int, ...], str],
) -> Row:
    reference, prediction, common = (_voxels(metrics, of) for of in ("n_ref", "n_pred", "TP"))
    if common > min(reference, prediction):
        raise ValueError(f"{case}, {key}: TP {common} is more than n_ref or n_pred")
    values = tuple(sorted(int(part) for part in key.strip("()[] ,").split(",")))
    status: Status
    if reference:
        status = "scored" if prediction else "prediction_empty"
    else:
        status = "reference_empty" if prediction else "both_empty"
    # nnU-Net writes NaN, or leaves the key out, where both sides are empty.
    dice = math.nan if status == "both_empty" else 0.0
    if status == "scored":
        dice, counted = float(metrics["Dice"]), 2 * common / (reference + prediction)
        if not abs(dice - counted) <= _ROUNDED:
            raise ValueError(f"{case}, {key}: Dice {dice:g}, but its voxels say {counted:g}")
    score = ClassScore(
        names.get(values, key),
        DEFAULT_TOLERANCE_MM,
        status,
        {"dsc": dice},
        reference,
        prediction,
        common,
        implementation="nnunetv2-summary",
    )
    return score_row(score, model=model, dataset=dataset, case=readable(case))


def _voxels(metrics: Mapping[str, Any], name: str) -> int:
    number = metrics[name]
    if isinstance(number, bool) or not 0 <= number <= _MOST_VOXELS or number != int(number):
        raise ValueError(f"{name} is {number}, no number of voxels")
    return int(number)


def import_touchstone_pair(
    dsc: Path, nsd: Path, model: str, dataset: str, tolerance_mm: float
) -> pd.DataFrame:
    """Touchstone's two tables: `name`, then one column per class; blank = class absent.

    The tables do not say whether something was predicted where a class is absent, so these rows
    have the status `not_annotated`, which `present-only` leaves out.

    Args:
        dsc: CSV of DSC, 0..1.
        nsd: CSV of NSD of the same cases and classes, 0..1.
        model: name for the column `model`.
        dataset: name for the column `dataset`.
        tolerance_mm: with which the NSD was computed.

    Raises:
        BenchError: not such tables, or cases or classes differ between the two.
    """
    first, second = _touchstone_table(dsc, "dsc"), _touchstone_table(nsd, "nsd")
    for axis in ("index", "columns"):
        ours, theirs = set(getattr(first, axis)), set(getattr(second, axis))
        if ours != theirs:
            raise BenchError(
                "the two tables do not hold the same cases and classes",
                file=nsd,
                found=f"only in one of them: {', '.join(sorted(ours ^ theirs)[:5])}",
            )
    rows = []
    others: dict[Any, dict[Any, float]] = second.to_dict("index")
    pairs = [(c, n, v) for c, values in first.to_dict("index").items() for n, v in values.items()]
    for case, name, value in pairs:
        absent = math.isnan(value)
        if absent != math.isnan(others[case][name]):
            raise BenchError(
                "one of the two tables has a value where the other one is blank", file=nsd,
                found=f"{case}, {name}: DSC {value:g}, NSD {others[case][name]:g}",
                expected="both, or neither (the class is absent)",
            )  # fmt: skip
        score = ClassScore(
            str(name),
            tolerance_mm,
            "not_annotated" if absent else "scored",
            {"dsc": value, "nsd": others[case][name]},
            implementation="touchstone-table",
        )
        why = "blank in the source: class absent" if absent else ""
        rows.append(
            score_row(score, model=model, dataset=dataset, case=readable(str(case)), reason=why)
        )
    return _frame(rows, dsc)


def _touchstone_table(path: Path, metric: str) -> pd.DataFrame:
    frame = _read_csv(path)
    if "name" not in frame.columns:
        raise BenchError(
            "table has no column `name`", file=path, found=", ".join(map(str, frame.columns[:5]))
        )
    _refuse_blank(frame, ["name"], path)
    if frame["name"].duplicated().any():
        raise BenchError(
            "a case occurs twice",
            file=path,
            found=str(frame.loc[frame["name"].duplicated(), "name"].iloc[0]),
        )
    return _numbers(frame.set_index("name"), path, find_metric(metric))


def import_challenger_table(
    path: Path,
    dataset: str,
    metric: str,
    tolerance_mm: float,
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """ChallengeR's long table: one value per task, algorithm and case; NA = missing prediction.

    Args:
        path: CSV.
        dataset: name for the column `dataset`.
        metric: id of the metric that the values are.
        tolerance_mm: of a metric that has one, for the column of that name.
        columns: the table's own names of `algorithm`, `case`, `value` and `task`. A task is a
            class; without such a column the class is called `all`.

    Raises:
        BenchError: a column is missing, or a value is no number.
    """
    names = {key: key for key in ("algorithm", "case", "value", "task")} | dict(columns or {})
    frame = _read_csv(path)
    for key in ("algorithm", "case", "value"):
        if names[key] not in frame.columns:
            raise BenchError(
                f"table has no column `{names[key]}`",
                file=path,
                hint=did_you_mean(names[key], [str(c) for c in frame.columns]),
            )
    _refuse_blank(frame, [names[key] for key in ("algorithm", "case")], path, _BLANK)
    known = find_metric(metric)
    values = _numbers(frame[[names["value"]]], path, known)[names["value"]]
    tasks = frame[names["task"]] if names["task"] in frame.columns else ["all"] * len(frame)
    rows = []
    for model, case, task, value in zip(
        frame[names["algorithm"]], frame[names["case"]], tasks, values, strict=True
    ):
        missing = math.isnan(value)
        score = ClassScore(
            str(task),
            tolerance_mm,
            "prediction_missing" if missing else "scored",
            {metric: float(value)},
            implementation="challenger-table",
        )
        why = "NA in the source" if missing else ""
        name = readable(str(case))
        rows.append(score_row(score, model=str(model), dataset=dataset, case=name, reason=why))
    return _frame(rows, path, (*DEFAULT_METRICS, metric))


def _read_csv(path: Path) -> pd.DataFrame:
    """A table of texts as they stand there: `01` is no number, and `NA` may be a name."""
    text = text_of(path)
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        columns = next(csv.reader([head], delimiter=separator), [])
        frame = pd.read_csv(
            StringIO(text), sep=separator, dtype=str, keep_default_na=False, header=0,
            names=None, index_col=False,
        )  # fmt: skip
    except (
        OSError,
        ValueError,
        csv.Error,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
    ) as error:
        raise BenchError(
            "table cannot be read", file=path, found=error, expected="a CSV file with a header"
        ) from error
    names = [name.strip() for name in columns]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise BenchError(
            f"the column `{twice[0]}` is there twice", file=path, hint="delete one of them"
        )
    frame.columns = pd.Index(names)
    # What pandas writes beside a table unless it is told not to: the numbers of its rows.
    if names and names[0] in ("", "Unnamed: 0") and len(names) > 1:
        frame = frame.drop(columns=frame.columns[0])
    stripped: pd.DataFrame = frame.apply(lambda column: column.str.strip())
    return stripped


def _refuse_blank(
    frame: pd.DataFrame, columns: Sequence[str], path: Path, blank: frozenset[str] = frozenset([""])
) -> None:
    for column in columns:
        lacking = frame.index[frame[column].isin(blank)]
        if len(lacking):
            raise BenchError(
                f"a row has no `{column}`", file=path, found=f"row {lacking[0] + 2}",
                hint="complete or delete it",
            )  # fmt: skip


def _numbers(frame: pd.DataFrame, path: Path, metric: Metric) -> pd.DataFrame:
    """The frame as numbers that the metric can have; blank or NA is NaN."""
    try:
        numbers = frame.where(~frame.isin(_BLANK), "nan").astype(float)
    except ValueError as error:
        raise BenchError(
            "table holds something else than numbers", file=path, found=error
        ) from error
    outside = (numbers < metric.low) | (numbers > metric.high) | np.isinf(numbers)
    if outside.to_numpy().any():
        raise BenchError(
            f"table holds values outside {metric.range_text}",
            file=path,
            found=f"{numbers.to_numpy()[outside.to_numpy()][0]:g}",
            hint="percentages? divide them by 100"
            if metric.high == 1
            else "where a structure was missed nothing is measured: leave it blank",
        )
    return numbers


def _frame(rows: list[Row], path: Path, metrics: Sequence[str] = DEFAULT_METRICS) -> pd.DataFrame:
    if not rows:
        raise BenchError("file holds no score", file=path)
    frame = pd.DataFrame(rows, columns=scores_table(metrics).names)
    twice = frame.duplicated(["model", "case", "class"])
    if twice.any():
        first = frame[twice].iloc[0]
        raise BenchError(
            "a case and class occur twice",
            file=path,
            found=f"{first['model']}, {first['case']}, {first['class']}",
        )
    return frame
